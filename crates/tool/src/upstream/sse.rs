//! Server-sent events (WHATWG HTML, 9.2), as servers use them for messages: bounded, and nothing of them but name, data, the
//! last identifier, and how long to wait before the stream is asked for again.

use core::time::Duration;

use super::message::FRAME_BYTES_MAX;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Event {
    /// Its name; empty for `message`.
    pub(super) name: String,
    /// Its data.
    pub(super) data: Vec<u8>,
}

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// The longest identifier, in bytes: it goes back in a header.
const ID_BYTES_MAX: usize = 1_024;

/// What has come of a stream so far.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
    /// That of the event which is coming; it counts when that is whole.
    id: Option<String>,
    last_id: Option<String>,
    retry: Option<Duration>,
}

/// An event is longer than the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

impl Events {
    /// The identifier of the last event that had one.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// The same stream, asked for again: what was half there is not.
    pub(super) fn anew(&self) -> Self {
        Self { id: self.last_id.clone(), last_id: self.last_id.clone(), retry: self.retry, ..Self::default() }
    }

    /// How long to wait before the stream is asked for again, where the server has said so.
    pub(super) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes bytes, and gives the events that are whole by them.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut whole = Vec::new();
        let mut lines = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = lines.next() {
            if self.line.len() + part.len() + self.event.data.len() > FRAME_BYTES_MAX {
                return Err(TooLong);
            }
            self.line.extend_from_slice(part);
            if lines.peek().is_some() {
                let line = core::mem::take(&mut self.line);
                let line = line.strip_suffix(b"\r").unwrap_or(&line);
                whole.extend(self.line(line));
            }
        }
        Ok(whole)
    }

    fn line(&mut self, line: &[u8]) -> Option<Event> {
        if line.is_empty() {
            self.last_id.clone_from(&self.id);
            let event = core::mem::take(&mut self.event);
            return core::mem::take(&mut self.has_data).then_some(event);
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => {
                let name = value.get(..value.len().min(NAME_BYTES_MAX)).unwrap_or_default();
                self.event.name = String::from_utf8_lossy(name).into_owned();
            }
            b"data" => {
                if self.has_data {
                    self.event.data.push(b'\n');
                }
                self.event.data.extend_from_slice(value);
                self.has_data = true;
            }
            b"id" => {
                // One that cannot go back is none; one that is empty takes back the one before.
                let fits = |id: &&str| !id.contains('\0') && id.len() <= ID_BYTES_MAX;
                if let Some(id) = str::from_utf8(value).ok().filter(fits) {
                    self.id = (!id.is_empty()).then(|| id.to_owned());
                }
            }
            b"retry" => {
                let millis =
                    str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
                if let Some(millis) = millis.and_then(|text| text.parse().ok()) {
                    self.retry = Some(Duration::from_millis(millis));
                }
            }
            // Comments.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Event, Events, FRAME_BYTES_MAX, TooLong};

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let stream = b": hello\nevent: endpoint\r\ndata: /messages?id=1\r\n\r\nid: 1\ndata: {\"a\":\ndata: 1}\n\n\ndata";
        let expected = vec![
            Event { name: "endpoint".to_owned(), data: b"/messages?id=1".to_vec() },
            Event { name: String::new(), data: b"{\"a\":\n1}".to_vec() },
        ];
        for size in [1, 2, 7, stream.len()] {
            let mut events = Events::default();
            let all: Vec<_> = stream.chunks(size).flat_map(|chunk| events.take(chunk).unwrap()).collect();
            assert_eq!(all, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_stream_says_where_it_was_and_when_to_ask_again() {
        let mut events = Events::default();
        let told = events.take(b"id: 7\nretry: 500\ndata:\n\nretry: 5x\nid: a\0b\n").unwrap();
        assert_eq!(told, [Event::default()]);
        assert_eq!((events.last_id(), events.retry()), (Some("7"), Some(Duration::from_millis(500))));
        events.take(b"id: 8\ndata: half").unwrap();
        assert_eq!(events.last_id(), Some("7"));
        events.take(b"\n\n").unwrap();
        assert_eq!(events.last_id(), Some("8"));
    }

    #[test]
    fn one_that_never_ends_is_not_kept() {
        let mut events = Events::default();
        let piece = vec![b'x'; 1 << 20];
        let taken = (0..=FRAME_BYTES_MAX >> 20).map(|_| events.take(&piece)).find(Result::is_err);
        assert_eq!(taken, Some(Err(TooLong)));
    }
}
