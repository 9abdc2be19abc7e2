//! Memory through sysinfo.

use sysinfo::{MemoryRefreshKind, System};

use super::failed;
use crate::catalogue::{MEMORY_LIMIT, MEMORY_USED, MEMORY_UTILIZATION};
use crate::collector::Collector;
use crate::error::{CollectError, Reason};
use crate::sample::{Roots, Sample, percent};

/// Used memory (total less available) and its share of the total.
#[derive(Debug, Default)]
pub struct Memory {
    system: Option<System>,
}

impl Memory {
    /// A collector of this host; the roots mean nothing here.
    pub fn new(_roots: &Roots) -> Self {
        Self::default()
    }
}

impl Collector for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn collect(&mut self, out: &mut Vec<Sample>) -> Result<(), CollectError> {
        let system = match &mut self.system {
            Some(system) => system,
            none => none.insert(System::new().map_err(failed)?),
        };
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let (total, available) = (system.total_memory(), system.available_memory());
        if total == 0 || available > total {
            let message = format!("expected total >= available memory, got {total} and {available} bytes");
            return Err(CollectError::new(Reason::Malformed, message));
        }
        let (used, total) = ((total - available) as f64, total as f64);
        out.push(Sample::new(&MEMORY_UTILIZATION, percent(used, total)));
        out.push(Sample::new(&MEMORY_USED, used));
        out.push(Sample::new(&MEMORY_LIMIT, total));
        Ok(())
    }
}
