//! The spool: whether data that cannot be sent have a place to wait, and whether it is ours.

use hostgauge_exporters::cloudwatch::{Place, look_at_spool};

use super::{Finding, PATIENCE, within};
use crate::cli::once::binary_multiple;
use crate::cli::options::{Spool, Values};
use crate::cli::publishing::spool_folder;

const SUBJECT: &str = "spool";

pub(super) fn check(values: &Values) -> Finding {
    let Some(folder) = spool_folder(values) else {
        let why = if values.spool_folder == Some(Spool::Off) { "off" } else { "no folder keeps state here" };
        return Finding::note(SUBJECT, "no_spool", format!("{why}: what waits is lost with the process"))
            .remedy("give --spool-dir a folder that outlives the process");
    };
    let shown = folder.display().to_string();
    let asked = matches!(values.spool_folder, Some(Spool::Folder(_)));
    match within(PATIENCE, move || look_at_spool(&folder)) {
        Some(place) => found(&place, &shown, asked, values.spool_max_bytes),
        None => Finding::bad(asked, SUBJECT, "spool_silent", format!("{shown}: its disk does not answer"))
            .remedy("give --spool-dir a folder on a local disk"),
    }
}

fn found(place: &Place, shown: &str, asked: bool, most: u64) -> Finding {
    let bytes = |bytes: u64| binary_multiple(bytes as f64);
    if place.taken {
        return Finding::problem(SUBJECT, "spool_taken", format!("{shown}: another agent uses this folder"))
            .remedy("stop that one, or give this one its own --spool-dir");
    }
    if let Some(error) = &place.refused {
        let nearest = place.nearest.display();
        let found = format!("{shown}: {nearest} cannot be written to ({error}): what waits is lost with the process");
        return Finding::bad(asked, SUBJECT, "spool_unwritable", found)
            .remedy("give this user the folder, or another one with --spool-dir");
    }
    match place.free {
        Some(free) if free < most => {
            let found = format!("{shown}: {} free, fewer than the {} that may wait", bytes(free), bytes(most));
            Finding::note(SUBJECT, "spool_short", found).remedy("make room, or lower --spool-max-bytes")
        }
        Some(free) => Finding::ok(SUBJECT, format!("{shown}: {} at most, {} free", bytes(most), bytes(free))),
        None => Finding::ok(SUBJECT, format!("{shown}: {} at most", bytes(most))),
    }
}
