//! One payment that several could take, and does not say which: several tokens, or methods of one name.

/// What the first of several makes of it that can; where none can, why the first cannot, and `none` where there is nobody.
pub(crate) fn first<I, T, E>(
    several: impl IntoIterator<Item = I>,
    none: E,
    mut take: impl FnMut(I) -> Result<T, E>,
) -> Result<T, E> {
    let mut wrong = none;
    for (at, one) in several.into_iter().enumerate() {
        match take(one) {
            Ok(taken) => return Ok(taken),
            Err(error) if at == 0 => wrong = error,
            Err(_) => {}
        }
    }
    Err(wrong)
}

#[cfg(test)]
mod tests {
    use super::first;

    #[test]
    fn the_first_that_can_takes_it_and_else_the_first_says_why_not() {
        let even = |number: u32| if number.is_multiple_of(2) { Ok(number) } else { Err(number) };
        for (several, expected) in
            [(vec![], Err(0)), (vec![1, 3, 5], Err(1)), (vec![1, 4, 6], Ok(4)), (vec![2], Ok(2))]
        {
            assert_eq!(first(several.clone(), 0, even), expected, "{several:?}");
        }
    }
}
