//! The one list of all rows.

use super::{Metric, agent, gpu, gpu_activity, gpu_health, gpu_instances, gpu_processes, host};

/// The subjects, in the order of the page.
const SUBJECTS: [&[&Metric]; 7] = [
    host::ROWS,
    gpu::ROWS,
    gpu_health::ROWS,
    gpu_instances::ROWS,
    gpu_activity::ROWS,
    gpu_processes::ROWS,
    agent::ROWS,
];

/// Every row, in the order of the page.
pub static ALL: &[&Metric] = &joined::<{ count() }>();

const fn count() -> usize {
    let (mut count, mut subject) = (0, 0);
    while subject < SUBJECTS.len() {
        count += SUBJECTS[subject].len();
        subject += 1;
    }
    count
}

/// Iterators cannot be used in a constant.
const fn joined<const N: usize>() -> [&'static Metric; N] {
    let mut all = [SUBJECTS[0][0]; N];
    let (mut filled, mut subject) = (0, 0);
    while subject < SUBJECTS.len() {
        let mut row = 0;
        while row < SUBJECTS[subject].len() {
            all[filled] = SUBJECTS[subject][row];
            filled += 1;
            row += 1;
        }
        subject += 1;
    }
    all
}
