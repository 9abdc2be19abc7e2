//! CPU time and throttling of a cgroup.
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst "cpu.stat"; cgroup-v1/cpuacct.rst; scheduler/sched-bwc.rst.

use crate::linux::cgroup::reading::{
    CPU_NANOSECONDS, Item, PERIODS, Reading, THROTTLED_NANOSECONDS, THROTTLED_PERIODS, number, required, value,
};

/// The CPU time comes first, so that the clock is read right beside it.
pub(super) const V1: &[Item] = &[
    Item { controller: Some("cpuacct"), names: &["cpuacct.usage"], required: true, parse: usage },
    Item { controller: Some("cpuacct"), names: &["cpuacct.usage_percpu"], required: false, parse: cores },
    Item { controller: Some("cpu"), names: &["cpu.stat"], required: false, parse: throttling_v1 },
];
pub(super) const V2: &[Item] = &[Item { controller: None, names: &["cpu.stat"], required: true, parse: stat_v2 }];

fn usage(text: &str, reading: &mut Reading) -> Result<(), &'static str> {
    reading.counters[CPU_NANOSECONDS] = Some(number(text)?);
    Ok(())
}

/// One number for each possible CPU, in ascending order.
fn cores(text: &str, reading: &mut Reading) -> Result<(), &'static str> {
    reading.cores.clear();
    for number in text.split_ascii_whitespace() {
        reading.cores.push(number.parse().map_err(|_| "expected a whole number for each core")?);
    }
    Ok(())
}

fn throttling_v1(text: &str, reading: &mut Reading) -> Result<(), &'static str> {
    reading.counters[PERIODS] = value(text, "nr_periods").transpose()?;
    reading.counters[THROTTLED_PERIODS] = value(text, "nr_throttled").transpose()?;
    reading.counters[THROTTLED_NANOSECONDS] = value(text, "throttled_time").transpose()?;
    Ok(())
}

fn stat_v2(text: &str, reading: &mut Reading) -> Result<(), &'static str> {
    let nanoseconds = |micros: u64| micros.checked_mul(1000).ok_or("a time beyond any machine's");
    reading.counters[CPU_NANOSECONDS] = Some(nanoseconds(required(text, "usage_usec", "no row usage_usec")?)?);
    // These rows come with the controller cpu only.
    reading.counters[PERIODS] = value(text, "nr_periods").transpose()?;
    reading.counters[THROTTLED_PERIODS] = value(text, "nr_throttled").transpose()?;
    reading.counters[THROTTLED_NANOSECONDS] =
        value(text, "throttled_usec").transpose()?.map(nanoseconds).transpose()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_say_the_same_in_their_own_way() {
        let (mut v1, mut v2) = (Reading::default(), Reading::default());
        usage("4940000000\n", &mut v1).expect("good");
        throttling_v1("nr_periods 10\nnr_throttled 4\nthrottled_time 7000\n", &mut v1).expect("good");
        let text = "usage_usec 4940000\nuser_usec 1\nsystem_usec 2\nnr_periods 10\nnr_throttled 4\nthrottled_usec 7\n";
        stat_v2(text, &mut v2).expect("good");
        assert_eq!(v1, v2);
        cores("12 0 7 \n", &mut v1).expect("good");
        assert_eq!(v1.cores, [12, 0, 7]);
    }

    #[test]
    fn without_the_controller_there_is_time_but_no_throttling() {
        let mut reading = Reading::default();
        stat_v2("usage_usec 5\nuser_usec 1\n", &mut reading).expect("good");
        assert_eq!((reading.counters[CPU_NANOSECONDS], reading.counters[PERIODS]), (Some(5000), None));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let mut reading = Reading::default();
        for bad in ["", "usage_usec\n", "usage_usec -1\n", "usage_usec 18446744073709551615\n", "user_usec 1\n"] {
            assert!(stat_v2(bad, &mut reading).is_err(), "{bad:?}");
        }
        assert!(usage("\n", &mut reading).is_err());
        assert!(cores("1 x\n", &mut reading).is_err());
        assert!(throttling_v1("nr_periods x\n", &mut reading).is_err());
    }
}
