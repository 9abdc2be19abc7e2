//! Memory and OOM kills of a cgroup.
//!
//! Source: Documentation/admin-guide/cgroup-v2.rst "memory.stat"; cgroup-v1/memory.rst section 5.2.

use crate::linux::cgroup::reading::{Item, OOM_KILLS, Reading, number, required, value};

pub(super) const V1: &[Item] = &[
    Item { controller: Some("memory"), names: &["memory.usage_in_bytes"], required: true, parse: usage },
    Item { controller: Some("memory"), names: &["memory.stat"], required: true, parse: stat_v1 },
    Item { controller: Some("memory"), names: &["memory.oom_control"], required: false, parse: kills },
];
pub(super) const V2: &[Item] = &[
    Item { controller: None, names: &["memory.current"], required: true, parse: usage },
    Item { controller: None, names: &["memory.stat"], required: true, parse: stat_v2 },
    Item { controller: None, names: &["memory.events"], required: false, parse: kills },
];

fn usage(text: &str, reading: &mut Reading) -> Result<(), &'static str> {
    reading.usage = Some(number(text)?);
    Ok(())
}

fn stat_v2(text: &str, reading: &mut Reading) -> Result<(), &'static str> {
    reading.inactive_file = Some(required(text, "inactive_file", "no row inactive_file")?);
    reading.anonymous = Some(required(text, "anon", "no row anon")?);
    Ok(())
}

/// The rows total_* hold the cgroups below, too.
fn stat_v1(text: &str, reading: &mut Reading) -> Result<(), &'static str> {
    reading.inactive_file = Some(required(text, "total_inactive_file", "no row total_inactive_file")?);
    reading.anonymous = Some(required(text, "total_rss", "no row total_rss")?);
    reading.hierarchical_limit = value(text, "hierarchical_memory_limit").transpose()?;
    Ok(())
}

fn kills(text: &str, reading: &mut Reading) -> Result<(), &'static str> {
    reading.counters[OOM_KILLS] = value(text, "oom_kill").transpose()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_have_working_set_anonymous_memory_and_kills() {
        let mut v2 = Reading::default();
        usage("1000\n", &mut v2).expect("good");
        stat_v2("anon 600\nfile 400\ninactive_file 300\n", &mut v2).expect("good");
        kills("low 0\nhigh 0\nmax 5\noom 2\noom_kill 1\noom_group_kill 0\n", &mut v2).expect("good");
        assert_eq!((v2.working_set(), v2.anonymous, v2.counters[OOM_KILLS]), (Some(700), Some(600), Some(1)));

        let mut v1 = Reading::default();
        usage("1000\n", &mut v1).expect("good");
        let text = "rss 1\ninactive_file 2\nhierarchical_memory_limit 5000\ntotal_rss 600\ntotal_inactive_file 300\n";
        stat_v1(text, &mut v1).expect("good");
        kills("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", &mut v1).expect("good");
        assert_eq!(v1.hierarchical_limit.take(), Some(5000));
        assert_eq!(v1, v2);
    }

    #[test]
    fn more_cache_than_usage_is_a_working_set_of_0() {
        let reading = Reading { usage: Some(5), inactive_file: Some(9), ..Reading::default() };
        assert_eq!(reading.working_set(), Some(0));
        assert_eq!(Reading { usage: Some(5), ..Reading::default() }.working_set(), None);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let mut reading = Reading::default();
        for bad in ["", "anon 1\n", "inactive_file 1\n", "anon x\ninactive_file 1\n"] {
            assert!(stat_v2(bad, &mut reading).is_err(), "{bad:?}");
            assert!(stat_v1(bad, &mut reading).is_err(), "{bad:?}");
        }
        assert!(usage("max\n", &mut reading).is_err());
        assert!(kills("oom_kill many\n", &mut reading).is_err());
    }
}
