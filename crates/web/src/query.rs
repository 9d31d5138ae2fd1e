//! The parameters of a listing: few, plain, and none that nobody asked for.

use std::borrow::Cow;

use url::form_urlencoded::parse;

use crate::problem::Problem;

/// Takes the parameters of a query one by one, and refuses what is left over.
pub(crate) struct Query<'q>(Vec<(Cow<'q, str>, Cow<'q, str>)>);

impl<'q> Query<'q> {
    /// The parameters.
    pub(crate) fn new(query: Option<&'q str>) -> Self {
        Self(parse(query.unwrap_or_default().as_bytes()).collect())
    }

    /// One parameter, which may come once.
    pub(crate) fn take(&mut self, name: &str) -> Result<Option<Cow<'q, str>>, Problem> {
        let mut found = self.0.extract_if(.., |(named, _)| named == name);
        let value = found.next().map(|(_, value)| value);
        match found.next() {
            None => Ok(value),
            Some(_) => Err(bad(name, "may come once")),
        }
    }

    /// One parameter, read by its form.
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Option<T>,
        form: &str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        read(&text).map(Some).ok_or_else(|| bad(name, &format!("must be {form}")))
    }

    /// Refuses parameters that nobody asked for.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                Err(bad(&name, "is no parameter here"))
            }
        }
    }
}

fn bad(name: &str, what: &str) -> Problem {
    Problem::bad_request("bad-query", format!("`{name}` {what}"))
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn a_parameter_comes_once_has_its_form_and_is_asked_for() {
        let number = |text: &str| text.parse::<u8>().ok();
        let read = |query: &'static str| {
            let mut query = Query::new(Some(query));
            let read = query.read("limit", number, "a number")?;
            query.finish()?;
            Ok(read)
        };
        let code = |query: &'static str| read(query).map_err(|problem: super::Problem| problem.code());
        assert_eq!(code(""), Ok(None));
        assert_eq!(code("limit=7"), Ok(Some(7)));
        for wrong in ["limit=x", "limit=", "limit", "limit=1&limit=1", "limits=1", "limit=1&x"] {
            assert_eq!(code(wrong), Err("bad-query"), "{wrong}");
        }
    }
}
