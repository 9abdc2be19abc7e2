//! What runs on a GPU: raw calls, since the wrapper gives up where many processes start between its two, and lacks
//! nvmlDeviceGetProcessesUtilizationInfo.

use std::mem;

use nvml_wrapper_sys::bindings as raw;

use super::super::driver::{Code, ProcessMemory, ProcessSample};
use super::device::Gpu;
use super::{NOT_SUPPORTED, checked, found};

const INSUFFICIENT_SIZE: Code = Code(7);
/// NVML_VALUE_NOT_AVAILABLE.
const NOT_AVAILABLE: u64 = u64::MAX;

/// The room at first. It is kept, so that a steady question is one call.
const FIRST: usize = 32;
/// More than any GPU runs: the number is the driver's, and may be garbage.
const MOST: usize = 4096;
/// Room for processes that start between two calls.
const HEADROOM: usize = 8;
/// Processes may start faster than we ask.
const TRIES: usize = 4;

/// Room for the answers.
#[derive(Default)]
pub(super) struct Buffers {
    infos: Vec<raw::nvmlProcessInfo_t>,
    samples: Vec<raw::nvmlProcessUtilizationInfo_v1_t>,
    legacy: Vec<raw::nvmlProcessUtilizationSample_t>,
}

type ListProcesses =
    unsafe extern "C" fn(raw::nvmlDevice_t, *mut std::ffi::c_uint, *mut raw::nvmlProcessInfo_t) -> raw::nvmlReturn_t;

impl Gpu {
    /// The three lists. Without that of compute processes there is none; the others may be missing.
    pub(super) fn list_processes(&mut self, into: &mut Vec<ProcessMemory>) -> Result<(), Code> {
        let library = self.library.raw();
        let compute = *found(&library.nvmlDeviceGetComputeRunningProcesses_v3)?;
        let more = [
            found(&library.nvmlDeviceGetGraphicsRunningProcesses_v3).ok().copied(),
            found(&library.nvmlDeviceGetMPSComputeRunningProcesses_v3).ok().copied(),
        ];
        self.list(compute, into)?;
        for list in more.into_iter().flatten() {
            match self.list(list, into) {
                Err(code) if !code.is_of_the_call() => return Err(code),
                _ => {}
            }
        }
        Ok(())
    }

    fn list(&mut self, ask: ListProcesses, into: &mut Vec<ProcessMemory>) -> Result<(), Code> {
        let handle = self.handle;
        let infos = fill(&mut self.buffers.infos, |count, room| {
            // SAFETY: the handle is the library's, and there is a place for as many processes as `count` says.
            unsafe { ask(handle, count, room.as_mut_ptr()) }
        })?;
        into.extend(infos.iter().map(|info| ProcessMemory {
            pid: info.pid,
            instance: (info.gpuInstanceId, info.computeInstanceId),
            bytes: (info.usedGpuMemory != NOT_AVAILABLE).then_some(info.usedGpuMemory),
        }));
        Ok(())
    }

    /// By the call of drivers from 550 on, since the older one finds nothing on some cards; else by the older one.
    pub(super) fn sample_processes(&mut self, since: u64, into: &mut Vec<ProcessSample>) -> Result<(), Code> {
        match self.samples(since, into) {
            // Not supported, not there, another version, deprecated.
            Err(Code(2 | 3 | 13 | 25 | 26)) => self.legacy_samples(since, into),
            other => other,
        }
    }

    fn samples(&mut self, since: u64, into: &mut Vec<ProcessSample>) -> Result<(), Code> {
        let ask = *found(&self.library.raw().nvmlDeviceGetProcessesUtilizationInfo)?;
        let handle = self.handle;
        let samples = fill(&mut self.buffers.samples, |count, room| {
            let mut question = raw::nvmlProcessesUtilizationInfo_t {
                version: size_of::<raw::nvmlProcessesUtilizationInfo_t>() as u32 | 1 << 24,
                processSamplesCount: *count,
                lastSeenTimeStamp: since,
                procUtilArray: room.as_mut_ptr(),
            };
            // SAFETY: the handle is the library's, and the array has a place for as many samples as the question says.
            let code = unsafe { ask(handle, &raw mut question) };
            *count = question.processSamplesCount;
            code
        })?;
        let sample = |sample: &raw::nvmlProcessUtilizationInfo_v1_t| ProcessSample {
            pid: sample.pid,
            timestamp: sample.timeStamp,
            sm: sample.smUtil,
        };
        into.extend(samples.iter().map(sample));
        Ok(())
    }

    fn legacy_samples(&mut self, since: u64, into: &mut Vec<ProcessSample>) -> Result<(), Code> {
        let ask = *found(&self.library.raw().nvmlDeviceGetProcessUtilization).map_err(|_| NOT_SUPPORTED)?;
        let handle = self.handle;
        let samples = fill(&mut self.buffers.legacy, |count, room| {
            // SAFETY: the handle is the library's, and there is a place for as many samples as `count` says.
            unsafe { ask(handle, room.as_mut_ptr(), count, since) }
        })?;
        let sample = |sample: &raw::nvmlProcessUtilizationSample_t| ProcessSample {
            pid: sample.pid,
            timestamp: sample.timeStamp,
            sm: sample.smUtil,
        };
        into.extend(samples.iter().map(sample));
        Ok(())
    }
}

/// Asks with the room there is, and with more while the driver says that it wants more. Returns what was written.
pub(super) fn fill<T>(
    room: &mut Vec<T>,
    mut ask: impl FnMut(&mut u32, &mut [T]) -> raw::nvmlReturn_t,
) -> Result<&[T], Code> {
    let mut wanted = FIRST;
    for _ in 0..TRIES {
        if room.len() < wanted {
            // SAFETY: only structs of whole numbers come here, for which zero is a value.
            room.resize_with(wanted, || unsafe { mem::zeroed() });
        }
        let mut count = room.len() as u32;
        match checked(ask(&mut count, room)) {
            Ok(()) => return Ok(room.get(..count as usize).unwrap_or(room)),
            Err(INSUFFICIENT_SIZE) if room.len() < MOST => {
                // Some say how much more, some do not.
                wanted = (count as usize).max(room.len()).saturating_add(HEADROOM).min(MOST);
            }
            Err(code) => return Err(code),
        }
    }
    Err(INSUFFICIENT_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A driver with so many processes, one more at each question, that says how many or not.
    fn driver(mut processes: u32, says: bool) -> impl FnMut(&mut u32, &mut [u32]) -> u32 {
        move |count, room| {
            let fits = processes as usize <= room.len();
            room.iter_mut().zip(1..=processes).for_each(|(place, number)| *place = number);
            if fits || says {
                *count = processes;
            }
            processes += 1;
            if fits { 0 } else { INSUFFICIENT_SIZE.0 }
        }
    }

    #[test]
    fn room_grows_with_what_the_driver_wants_and_is_kept() {
        let mut room = Vec::new();
        assert_eq!(fill(&mut room, driver(3, true)), Ok(&[1, 2, 3][..]));
        assert_eq!(fill(&mut room, driver(200, true)).map(<[_]>::len), Ok(201));
        let before = room.len();
        assert_eq!(fill(&mut room, driver(0, true)), Ok(&[][..]));
        assert_eq!(room.len(), before);
        let mut room = Vec::new();
        assert_eq!(fill(&mut room, driver(FIRST as u32 + 10, false)).map(<[_]>::len), Ok(FIRST + 12));
    }

    #[test]
    fn garbage_is_bounded_and_errors_are_passed_on() {
        let mut room: Vec<u32> = Vec::new();
        assert_eq!(fill(&mut room, driver(u32::MAX - 10, true)), Err(INSUFFICIENT_SIZE));
        assert_eq!(room.len(), MOST);
        assert_eq!(fill(&mut room, |_, _| 15), Err(Code(15)));
        let more_than_there_is = |count: &mut u32, _: &mut [u32]| {
            *count = u32::MAX;
            0
        };
        assert_eq!(fill(&mut room, more_than_there_is).map(<[_]>::len), Ok(MOST));
    }
}
