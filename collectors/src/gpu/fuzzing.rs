//! Properties of what is made of the driver's samples.

use std::time::{Duration, Instant};

use super::busy::Meter;
use super::counter::Counter;
pub(crate) use super::nvml::fuzzing::nvml_answers;
pub(crate) use super::processes::fuzzing::{process_shares, process_text};
use super::ring::RingSample;
use crate::fuzzing::input::Input;

/// The most time that a tick settles beyond what passed: where in a period it began is not known, and neither whether
/// the driver's clock was set.
const EDGES: Duration = Duration::from_secs(6);

/// Whatever a ring holds and whenever it is asked: figures lie in their ranges, no tick settles more time than had
/// passed, and a counter never falls.
pub(crate) fn gpu_ring(data: &[u8]) {
    let mut input = Input::new(data);
    let mut meter = Meter::default();
    let (mut counter, mut counted, start) = (Counter::new(input.number(4)), 0, Instant::now());
    let (mut clock, mut passed, mut ticks) = (input.number(8), Duration::ZERO, 0);
    while !input.is_empty() && ticks < 64 {
        ticks += 1;
        let flags = input.byte();
        let elapsed = Duration::from_millis(if flags & 1 == 0 { input.number(2) } else { input.number(7) });
        let mut answer = Vec::new();
        for _ in 0..input.byte() {
            clock = match flags & 6 {
                0 => clock.wrapping_add(input.number(3)),
                2 => clock.wrapping_sub(input.number(3)),
                4 => clock.wrapping_add(166_667),
                _ => input.number(8),
            };
            let value = if flags & 8 == 0 { input.byte().into() } else { input.number(4) as u32 };
            answer.push(RingSample { timestamp: clock, value });
        }
        let gpm = (flags & 16 != 0).then(|| input.float());
        let snapshot = (flags & 32 != 0).then(|| input.byte().into());
        passed += elapsed;
        let tick = meter.tick((flags & 64 == 0).then_some(&answer[..]), gpm, snapshot, elapsed);

        if let Some(chosen) = &tick.utilization {
            assert!((0.0..=100.0).contains(&chosen.percent) && (0.0..=1.0).contains(&chosen.coverage), "{chosen:?}");
        }
        assert!(tick.busy + tick.idle <= passed + EDGES && tick.lost <= passed + EDGES, "{tick:?} of {passed:?}");
        if let Some(drain) = &tick.drain {
            assert!(drain.mean.is_none_or(|mean| (0.0..=100.0).contains(&mean)), "{drain:?}");
            assert!((0.0..=1.0).contains(&drain.coverage), "{drain:?}");
            assert!(drain.busy <= drain.covered && drain.busy + drain.idle == drain.covered, "{drain:?}");
            assert!(drain.still <= drain.covered && drain.taken <= answer.len() as u64, "{drain:?}");
        }

        let figure = counter.follow(input.any_number(), start + elapsed);
        assert!(figure.is_none_or(|figure| figure >= counted), "{figure:?} after {counted}");
        counted = figure.unwrap_or(counted);
    }
}
