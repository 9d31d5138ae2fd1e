//! Little-endian fields in a fixed buffer. Never allocates, never reads past the end.

use super::PACKET_BYTES;

/// The bytes do not make a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message does not parse")]
pub struct Malformed;

/// Fills a packet from the front; what is left stays zero.
pub struct Writer {
    bytes: [u8; PACKET_BYTES],
    at: usize,
}

impl Writer {
    pub fn new(tag: u8) -> Self {
        Self { bytes: [0; PACKET_BYTES], at: 0 }.u8(tag)
    }

    pub fn u8(self, value: u8) -> Self {
        self.put(&[value])
    }

    pub fn u16(self, value: u16) -> Self {
        self.put(&value.to_le_bytes())
    }

    pub fn u32(self, value: u32) -> Self {
        self.put(&value.to_le_bytes())
    }

    pub fn i32(self, value: i32) -> Self {
        self.put(&value.to_le_bytes())
    }

    pub fn u64(self, value: u64) -> Self {
        self.put(&value.to_le_bytes())
    }

    /// A number that may be unknown.
    pub fn maybe(self, value: Option<u64>) -> Self {
        self.u8(u8::from(value.is_some())).u64(value.unwrap_or(0))
    }

    pub fn finish(self) -> [u8; PACKET_BYTES] {
        self.bytes
    }

    fn put(mut self, field: &[u8]) -> Self {
        // The longest message is checked against the packet's size by a test of every message.
        if let Some(place) = self.bytes.get_mut(self.at..self.at + field.len()) {
            place.copy_from_slice(field);
        }
        self.at += field.len();
        self
    }
}

/// Reads a packet from the front.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(packet: &'a [u8]) -> Self {
        Self(packet)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*field)
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.take()?))
    }

    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    pub fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_le_bytes(self.take()?))
    }

    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    pub fn maybe(&mut self) -> Result<Option<u64>, Malformed> {
        let known = self.flag()?;
        let value = self.u64()?;
        Ok(known.then_some(value))
    }

    pub fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
}
