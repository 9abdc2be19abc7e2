//! What an XID points at: the job's own code, the driver, or the hardware.
//!
//! Sources: NVIDIA, "Xid Errors" (docs.nvidia.com/deploy/xid-errors): the Xid Catalog with the action it asks for, and
//! for numbers that the catalog no longer uses, the listing of release 555 with its possible causes. NVIDIA warns that
//! a number seldom has one cause only; the class is the likeliest, where to look first:
//!
//! - application: the catalog speaks of the user's code, or asks to restart the application and then to check it, or
//!   the listing has the application among its causes and neither name nor action points elsewhere;
//! - hardware: memory, link, bus, power, firmware or board, or the catalog asks for a reset and then for support;
//! - driver: everything else that is listed, exceptions of copy and video engines among it: the catalog asks for a
//!   restart of the application and then for support.

use std::ops::RangeInclusive;

/// The value of the label `class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum XidClass {
    /// The job's own code.
    Application,
    /// NVIDIA's software.
    Driver,
    /// The GPU, its memory, power or links.
    Hardware,
    /// A number that neither source gives a meaning, and 154: the recovery action changed, by whatever came before.
    Unknown,
}

impl XidClass {
    /// The label value.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Driver => "driver",
            Self::Hardware => "hardware",
            Self::Unknown => "unknown",
        }
    }

    /// The class of an XID: `nvmlEventData_t::eventData` of nvmlEventTypeXidCriticalError.
    pub(super) fn of(xid: u64) -> Self {
        let row = CATALOG.iter().find(|(xids, ..)| xids.contains(&xid));
        row.map_or(Self::Unknown, |(_, class, _)| *class)
    }
}

use XidClass::{Application, Driver, Hardware};

/// Number, class, and what the sources call it.
const CATALOG: &[(RangeInclusive<u64>, XidClass, &str)] = &[
    (1..=4, Driver, "push buffer stream"),
    (6..=7, Driver, "push buffer stream or address"),
    (8..=8, Application, "GPU stopped processing: restart the application"),
    (9..=9, Driver, "error in programming the GPU"),
    (11..=11, Application, "invalid push buffer stream: check the application"),
    (12..=12, Driver, "error in handling an exception"),
    (13..=13, Application, "graphics engine exception: out of bounds, illegal instruction"),
    (16..=16, Driver, "display engine hung"),
    (18..=22, Driver, "bus mastering, display and video push buffers"),
    (24..=24, Application, "semaphore timeout"),
    (25..=25, Application, "illegal push buffer stream: check the application"),
    (26..=30, Driver, "framebuffer timeout, video processors, semaphore access"),
    (31..=31, Application, "memory page fault: illegal address"),
    (32..=32, Application, "push buffer stream: check the application"),
    (33..=38, Driver, "micro-controller, video processors, firmware"),
    (39..=42, Driver, "copy engines, video"),
    (43..=43, Application, "GPU stopped processing: a fault of the application"),
    (44..=44, Driver, "fault during a context switch"),
    (45..=45, Application, "cleanup of a channel: the application ended or another XID came before"),
    (46..=46, Hardware, "GPU stopped processing: reset"),
    (47..=47, Driver, "video encoder"),
    (48..=48, Hardware, "double bit ECC error"),
    (54..=54, Hardware, "auxiliary power not connected"),
    (56..=56, Driver, "display engine"),
    (57..=58, Hardware, "video memory interface"),
    (59..=61, Driver, "micro-controller (older drivers), video"),
    (62..=62, Hardware, "micro-controller halt: reset"),
    (63..=64, Hardware, "row remapping or page retirement, and its failure"),
    (65..=67, Driver, "video encoder, illegal access by the driver"),
    (68..=68, Application, "video decoder: the listing has the application among the causes"),
    (69..=69, Application, "graphics engine class error: check the application"),
    (70..=73, Driver, "copy engines, video encoder"),
    (74..=74, Hardware, "NVLink"),
    (75..=78, Driver, "copy engines, vGPU start"),
    (79..=79, Hardware, "fallen off the bus"),
    (80..=80, Application, "corrupted data sent to the GPU: check the application"),
    (81..=81, Hardware, "VGA subsystem"),
    (82..=86, Driver, "image and video engines, copy engine, optical flow"),
    (88..=89, Driver, "video decoders"),
    (92..=95, Hardware, "ECC error rate, InfoROM wear, contained and uncontained memory errors"),
    (96..=107, Driver, "video and image engines, test messages"),
    (109..=109, Hardware, "context switch timeout: reset"),
    (110..=110, Hardware, "security fault"),
    (111..=118, Driver, "display"),
    (119..=121, Hardware, "GSP timeout and error, chip-to-chip link"),
    (122..=125, Hardware, "flash memory, InfoROM"),
    (126..=135, Driver, "copy engines"),
    (136..=136, Hardware, "link training failed"),
    (137..=137, Application, "NVLink privilege: an illegal address at a peer"),
    (139..=139, Driver, "optical flow"),
    (140..=140, Hardware, "unrecovered ECC error"),
    (141..=142, Driver, "CUDA fast path, video encoder"),
    (143..=143, Hardware, "initialisation failed: reset"),
    (144..=150, Hardware, "NVLink 5"),
    (151..=153, Driver, "key rotation, DLA"),
    (155..=155, Driver, "NVLink software"),
    (156..=158, Hardware, "resource retirement, fatal timeout"),
    (159..=159, Driver, "CHI non-data error, a follower of another"),
    (160..=165, Hardware, "channel retirement, power smoothing circuitry"),
    (166..=166, Driver, "NVLink: confidential traffic too early"),
    (167..=169, Hardware, "PCIe fatal timeout, reduced memory capacity, micro-controller halt"),
    (170..=170, Driver, "NVLink: interrupt in confidential mode"),
    (171..=172, Hardware, "uncorrectable DRAM and SRAM errors"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everyone_asks_about() {
        for (xids, class) in [
            (&[13, 31, 43, 45][..], Application),
            (&[38, 66, 78][..], Driver),
            (&[46, 109, 48, 62, 63, 64, 74, 79, 94, 95, 119, 120, 140][..], Hardware),
            (&[0, 5, 14, 23, 87, 138, 154, 173, u64::MAX][..], XidClass::Unknown),
        ] {
            xids.iter().for_each(|xid| assert_eq!(XidClass::of(*xid), class, "{xid}"));
        }
    }

    #[test]
    fn every_number_stands_in_one_row_and_has_a_name() {
        for pair in CATALOG.windows(2) {
            assert!(pair[0].0.end() < pair[1].0.start(), "{pair:?}");
        }
        assert!(CATALOG.iter().all(|(xids, class, name)| {
            xids.start() <= xids.end() && *class != XidClass::Unknown && !name.is_empty()
        }));
    }
}
