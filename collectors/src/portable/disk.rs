//! Disk space through sysinfo.

use std::path::PathBuf;
use std::time::Duration;

use sysinfo::{DiskRefreshKind, Disks};

use super::failed;
use crate::catalogue::{DISK_UTILIZATION, FILESYSTEM_AVAILABLE, FILESYSTEM_SIZE, FILESYSTEM_USED};
use crate::collector::Collector;
use crate::error::{CollectError, Reason};
use crate::sample::{Device, Roots, Sample, percent};

/// Space used on the file systems of the given paths: size less what is available, since sysinfo does not tell a
/// reserve apart.
#[derive(Debug)]
pub struct Disk {
    paths: Vec<(PathBuf, Device)>,
    disks: Option<Disks>,
}

impl Disk {
    /// A collector of the file systems that hold `paths`.
    pub fn new(roots: &Roots, paths: &[PathBuf], _interval: Duration) -> Self {
        let device = |path: &PathBuf| (roots.on_host(path), Device::new([path.to_string_lossy().as_ref()]));
        Self { paths: paths.iter().map(device).collect(), disks: None }
    }
}

impl Collector for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn may_block(&self) -> bool {
        true
    }

    fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        let storage = DiskRefreshKind::nothing().with_storage();
        let disks = match &mut self.disks {
            Some(disks) => {
                disks.refresh_specifics(true, storage);
                disks
            }
            none => none.insert(Disks::new_with_refreshed_list_specifics(storage).map_err(failed)?),
        };
        let (mut used, mut size, mut counted) = (0, 0, Vec::new());
        let mut outcome = Ok(());
        for (path, device) in &self.paths {
            let holds = |disk: &&sysinfo::Disk| path.starts_with(disk.mount_point());
            let disk = disks.iter().filter(holds).max_by_key(|disk| disk.mount_point().components().count());
            let Some(disk) = disk.filter(|disk| disk.total_space() >= disk.available_space() && disk.total_space() > 0)
            else {
                outcome =
                    Err(CollectError::new(Reason::Missing, format!("no file system found for {}", path.display())));
                continue;
            };
            let (all, left) = (disk.total_space(), disk.available_space());
            out.push(Sample::of(&FILESYSTEM_USED, device, (all - left) as f64));
            out.push(Sample::of(&FILESYSTEM_AVAILABLE, device, left as f64));
            out.push(Sample::of(&FILESYSTEM_SIZE, device, all as f64));
            if !counted.contains(&disk.name()) {
                counted.push(disk.name());
                (used, size) = (used + (all - left), size + all);
            }
        }
        if outcome.is_ok() && size > 0 {
            out.push(Sample::new(&DISK_UTILIZATION, percent(used as f64, size as f64)));
        }
        outcome
    }
}
