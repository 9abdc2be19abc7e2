//! A part of a whole.

/// A share in percent with the bytes behind it; each `None` while it is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Share {
    pub percent: Option<f64>,
    pub used: Option<f64>,
    pub total: Option<f64>,
}
