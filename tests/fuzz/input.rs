//! What a property makes of the fuzzer's bytes. Compiled into each package that has properties.

/// Bytes that are used up from the front; where they have ended, zeros and empty texts follow.
#[derive(Clone, Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

#[allow(dead_code, reason = "not every package needs every form")]
impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.bytes(usize::MAX)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    /// A number of so many bytes, at most eight; little endian.
    pub(crate) fn number(&mut self, bytes: usize) -> u64 {
        self.bytes(bytes).iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Small numbers mostly, and all there are.
    pub(crate) fn any_number(&mut self) -> u64 {
        match self.byte() {
            0xff => self.number(8),
            0xfe => self.number(4),
            small => u64::from(small),
        }
    }

    /// Any f64, those that are no numbers included.
    pub(crate) fn float(&mut self) -> f64 {
        match self.byte() {
            0xff => f64::from_bits(self.number(8)),
            0xfe => self.number(4) as i32 as f64 / 256.0,
            small => f64::from(small),
        }
    }

    /// A text of less than 256 bytes; what is no UTF-8 in it is replaced.
    pub(crate) fn text(&mut self) -> String {
        let length = self.byte().into();
        String::from_utf8_lossy(self.bytes(length)).into_owned()
    }
}

/// The parts of an input between bytes 0xff, which no UTF-8 text holds.
#[allow(dead_code, reason = "as above")]
pub(crate) fn parts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|byte| *byte == 0xff)
}
