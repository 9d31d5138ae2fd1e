//! The name that a TLS client asks for, from the first bytes that it sends (RFC 8446 4.1.2, RFC 6066 3). Reads bytes of a
//! guest: what is not the one form that is known is not TLS.

/// What the first bytes of a client say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hello {
    /// Not enough yet.
    More,
    /// The name as it stands there.
    Name(String),
    /// None.
    Nameless,
    /// The true name is encrypted.
    Hidden,
    /// Something else than a client's hello.
    NotTls,
}

/// The longest hello that is read, in bytes; those of browsers have about 2 KiB.
pub(super) const HELLO_BYTES_MAX: usize = 16 << 10;

const RECORD_HANDSHAKE: u8 = 22;
const RECORD_BYTES_MAX: usize = 1 << 14;
const CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ENCRYPTED_HELLO: u16 = 0xFE0D;

/// Reads as much as there is.
pub(super) fn read(bytes: &[u8]) -> Hello {
    match message(bytes) {
        Ok(Some(body)) => name(&body).unwrap_or(Hello::NotTls),
        Ok(None) if bytes.len() < HELLO_BYTES_MAX => Hello::More,
        Ok(None) | Err(NotTls) => Hello::NotTls,
    }
}

struct NotTls;

/// The body of the first message, put together from its records; `None` where it is not whole.
fn message(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, NotTls> {
    let mut told = Vec::new();
    loop {
        if let Some((head, body)) = told.split_first_chunk::<4>() {
            let &[kind, a, b, c] = head;
            let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).map_err(|_| NotTls)?;
            if kind != CLIENT_HELLO || length > HELLO_BYTES_MAX || body.len() > length {
                return Err(NotTls);
            }
            if body.len() == length {
                return Ok(Some(body.to_vec()));
            }
        }
        // As much of the next record's head as there is must be one.
        let wrong = |at: usize, is: fn(u8) -> bool| bytes.get(at).is_some_and(|byte| !is(*byte));
        if wrong(0, |kind| kind == RECORD_HANDSHAKE)
            || wrong(1, |major| major == 3)
            || wrong(2, |minor| minor <= 4)
        {
            return Err(NotTls);
        }
        let Some((&[_, _, _, a, b], rest)) = bytes.split_first_chunk::<5>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([a, b]));
        if length == 0 || length > RECORD_BYTES_MAX {
            return Err(NotTls);
        }
        let Some((record, rest)) = rest.split_at_checked(length) else { return Ok(None) };
        told.extend_from_slice(record);
        bytes = rest;
    }
}

/// Reads vectors from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|two| u16::from_be_bytes(*two))
    }

    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

fn name(body: &[u8]) -> Option<Hello> {
    let mut fields = Fields(body);
    // Version, random; session, suites, compressions.
    fields.take(2 + 32)?;
    fields.short()?;
    fields.long()?;
    fields.short()?;
    if fields.0.is_empty() {
        return Some(Hello::Nameless);
    }
    let mut extensions = Fields(fields.long()?);
    if !fields.0.is_empty() {
        return None;
    }
    let mut named = None;
    let mut hidden = false;
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.long()?;
        match kind {
            EXTENSION_SERVER_NAME if named.is_some() => return None,
            EXTENSION_SERVER_NAME => named = Some(one_name(content)?),
            EXTENSION_ENCRYPTED_HELLO => hidden = true,
            _ => {}
        }
    }
    Some(match named {
        _ if hidden => Hello::Hidden,
        Some(name) => Hello::Name(name),
        None => Hello::Nameless,
    })
}

/// The one name of an extension that may hold several, and never does.
fn one_name(content: &[u8]) -> Option<String> {
    let mut content = Fields(content);
    let mut list = Fields(content.long()?);
    let kind = list.u8()?;
    let name = list.long()?;
    let is_all =
        kind == 0 && list.0.is_empty() && content.0.is_empty() && !name.is_empty() && name.is_ascii();
    is_all.then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Hello, read};

    fn vector(length_bytes: usize, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&length[4 - length_bytes..], content].concat()
    }

    /// A client's hello with these extensions.
    pub(in super::super) fn hello(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let extensions: Vec<u8> = extensions
            .iter()
            .flat_map(|(kind, content)| [kind.to_be_bytes().to_vec(), vector(2, content)].concat())
            .collect();
        let body = [
            &[3, 3][..],
            &[7; 32],
            &vector(1, &[1; 32]),
            &vector(2, &[0x13, 1]),
            &vector(1, &[0]),
            &vector(2, &extensions),
        ];
        let message = [&[1][..], &vector(3, &body.concat())].concat();
        [&[22, 3, 1][..], &vector(2, &message)].concat()
    }

    pub(in super::super) fn named(name: &str) -> (u16, Vec<u8>) {
        (0, vector(2, &[&[0][..], &vector(2, name.as_bytes())].concat()))
    }

    #[test]
    fn the_name_is_read_and_what_is_missing_is_waited_for() {
        let whole = hello(&[(43, vec![2, 3, 4]), named("a.org"), (16, vec![])]);
        assert_eq!(read(&whole), Hello::Name("a.org".into()));
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), Hello::More, "{end}");
        }
        assert_eq!(read(&hello(&[(43, vec![])])), Hello::Nameless);
    }

    #[test]
    fn a_hello_in_pieces_is_put_together() {
        let whole = hello(&[named("a.org")]);
        let cut: Vec<u8> =
            whole[5..].chunks(7).flat_map(|piece| [&[22, 3, 3][..], &vector(2, piece)].concat()).collect();
        assert_eq!(read(&cut), Hello::Name("a.org".into()));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        let two = (0, vector(2, &[&[0][..], &vector(2, b"a.org"), &[0], &vector(2, b"b.org")].concat()));
        for odd in [
            hello(&[two]),
            hello(&[named("a.org"), named("b.org")]),
            hello(&[named("")]),
            hello(&[(0, vec![])]),
            b"GET / HTTP/1.1\r\n".to_vec(),
            vec![22, 2, 0],
            vec![22, 3, 1, 0, 0],
            vec![21, 3, 1, 0, 2, 1, 0],
        ] {
            assert_eq!(read(&odd), Hello::NotTls, "{odd:?}");
        }
        let mut long = hello(&[named("a.org")]);
        long[3..5].copy_from_slice(&[0xFF, 0xFF]);
        assert_eq!(read(&long), Hello::NotTls);
        let behind = [hello(&[named("a.org")]), vec![0; 3]].concat();
        assert_eq!(read(&behind), Hello::Name("a.org".into()), "what follows is the server's business");
    }

    #[test]
    fn an_encrypted_name_is_told_apart() {
        assert_eq!(read(&hello(&[named("a.org"), (0xFE0D, vec![0])])), Hello::Hidden);
    }
}
