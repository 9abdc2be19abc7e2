//! Linux: our own readers over held descriptors. They cost a tenth of a general library's and know a core by its name.

pub(crate) mod cgroup;
pub(crate) mod cpu;
mod cpu_list;
pub(crate) mod disk;
mod filesystem;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod held_file;
mod meminfo;
pub(crate) mod memory;
mod proc_stat;

use crate::sample::{Cores, Roots};

/// How many cores are online, and how many could be: after a hot-unplug more are present than online. `None` where
/// sysfs does not say.
///
/// Source: `/sys/devices/system/cpu/{online,present}`.
pub fn cores(roots: &Roots) -> Option<Cores> {
    let count = |list: &str| {
        let text = std::fs::read_to_string(roots.sysfs.join("devices/system/cpu").join(list)).ok()?;
        cpu_list::parse(&text).map(|cores| cores.len())
    };
    Some(Cores { online: count("online")?, present: count("present")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unplugged_core_is_present_but_not_online() {
        let folder = tempfile::tempdir().expect("a folder");
        let lists = folder.path().join("devices/system/cpu");
        std::fs::create_dir_all(&lists).expect("made");
        std::fs::write(lists.join("present"), "0-3\n").expect("written");
        std::fs::write(lists.join("online"), "0,2-3\n").expect("written");
        let roots = Roots { sysfs: folder.path().to_owned(), ..Roots::default() };
        assert_eq!(cores(&roots), Some(Cores { online: 3, present: 4 }));
        std::fs::write(lists.join("online"), "some\n").expect("written");
        assert_eq!(cores(&roots), None);
    }
}
