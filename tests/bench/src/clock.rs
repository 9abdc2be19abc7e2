//! CPU time of other processes, in microseconds.

use std::{io, mem::MaybeUninit};

/// The sum over processes of their own CPU clocks. A process' clock keeps the time of its dead threads, which adding up
/// /proc/PID/task would lose; it leaves out dead children, so exporters that fork for each sample would look too cheap.
pub fn cpu_us(processes: &[u32]) -> Result<f64, String> {
    processes.iter().map(|pid| one(*pid)).sum()
}

fn one(pid: u32) -> Result<f64, String> {
    // The kernel's coding of "the scheduler's clock of that whole process".
    let clock = (!(pid as libc::clockid_t) << 3) | 2;
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the pointer is to room for one timespec; a wrong clock makes the call fail.
    if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } != 0 {
        return Err(format!("CPU clock of process {pid}: {}", io::Error::last_os_error()));
    }
    // SAFETY: the call succeeded, so it filled the structure.
    let time = unsafe { time.assume_init() };
    Ok(time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_clock_advances_with_work() {
        let us = [std::process::id()];
        let before = cpu_us(&us).unwrap();
        std::hint::black_box((0..1_000_000u64).fold(0, |a, b| std::hint::black_box(a ^ b)));
        assert!(cpu_us(&us).unwrap() > before);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(cpu_us(&[u32::MAX / 16]).unwrap_err().contains("CPU clock of process"));
    }
}
