//! The ring of utilization samples, which the wrapper cuts to 32 bits and calls an error while it is dry.

use std::mem;
use std::ptr;

use nvml_wrapper_sys::bindings as raw;

use super::super::driver::Code;
use super::super::ring::RingSample;
use super::device::Gpu;
use super::fields::whole;
use super::{checked, found};

/// Room for samples beyond the number that the driver named, should some come between the two calls.
const HEADROOM: u32 = 8;
/// The most room given, many times that of any ring known: the number is the driver's, and may be garbage.
const MOST_SAMPLES: u32 = 4096;

impl Gpu {
    /// The whole ring: `lastSeenTimeStamp` 0. Two calls, for the size and for the samples.
    pub(super) fn drain(&mut self, into: &mut Vec<RingSample>) -> Result<(), Code> {
        let ask = found(&self.library.raw().nvmlDeviceGetSamples)?;
        let kind = raw::nvmlSamplingType_enum_NVML_GPU_UTILIZATION_SAMPLES;
        let (mut form, mut count) = (0, 0);
        // SAFETY: without a place for samples only their number is written.
        checked(unsafe { ask(self.handle, kind, 0, &raw mut form, &raw mut count, ptr::null_mut()) })?;
        count = count.saturating_add(HEADROOM).min(MOST_SAMPLES);
        // SAFETY: a struct of whole numbers, for which zero is a value.
        self.samples.resize(count as usize, unsafe { mem::zeroed() });
        // SAFETY: there is a place for as many samples as `count` says.
        checked(unsafe { ask(self.handle, kind, 0, &raw mut form, &raw mut count, self.samples.as_mut_ptr()) })?;
        let samples = self.samples.iter().take(count as usize);
        into.extend(
            samples.map(|sample| RingSample { timestamp: sample.timeStamp, value: percent(form, &sample.sampleValue) }),
        );
        Ok(())
    }
}

/// A value of the ring as a whole number; `u32::MAX`, which is garbage, where it is none.
fn percent(form: raw::nvmlValueType_t, value: &raw::nvmlValue_t) -> u32 {
    whole(form, value).and_then(|whole| u32::try_from(whole).ok()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_form_are_read_as_what_they_are() {
        let value = |write: fn(&mut raw::nvmlValue_t)| {
            // SAFETY: a union of numbers, for which zero is a value.
            let mut value: raw::nvmlValue_t = unsafe { mem::zeroed() };
            write(&mut value);
            value
        };
        for (form, written, read) in [
            (0, value(|value| value.dVal = 36.6), 37),
            (0, value(|value| value.dVal = -1.0), u32::MAX),
            (0, value(|value| value.dVal = f64::NAN), u32::MAX),
            (1, value(|value| value.uiVal = 37), 37),
            (2, value(|value| value.ulVal = 37), 37),
            (3, value(|value| value.ullVal = (1 << 32) + 37), u32::MAX),
            (4, value(|value| value.sllVal = 37), 37),
            (5, value(|value| value.siVal = -37), u32::MAX),
            (6, value(|value| value.usVal = 37), 37),
            (7, value(|value| value.uiVal = 37), u32::MAX),
        ] {
            assert_eq!(percent(form, &written), read, "type {form}");
        }
    }
}
