//! Whose process ids the driver tells: those of the host, whatever namespace asks, or those of the asker's namespace.
//! Drivers differ, and none says which; so the ids are compared with procfs.

use super::procfs::{Procfs, View};

/// So many processes say enough.
const MOST_ASKED: usize = 8;

/// The value of the label `kind`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    Host,
    Namespace,
    #[default]
    Unknown,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Host, Self::Namespace, Self::Unknown];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Namespace => "namespace",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known of the driver's ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pids {
    pub kind: Kind,
    /// Whether procfs shows the processes that they mean. Where it is not certain it is no: another process' name would
    /// be worse than none.
    pub resolve: bool,
}

impl Pids {
    /// Compares ids with procfs, until one process is found that has a GPU open.
    pub(super) fn judge(&mut self, procfs: &mut Procfs, pids: impl Iterator<Item = u32>) {
        if self.resolve {
            return;
        }
        let view = procfs.view();
        let mut asked = pids.take(MOST_ASKED).map(|pid| procfs.has_gpu(pid)).peekable();
        let is_certain = view == View::Own;
        if !is_certain && asked.peek().is_none() {
            return;
        }
        let (mut found, mut all_absent) = (false, true);
        if !is_certain {
            asked.for_each(|has| {
                found |= has == Some(true);
                all_absent &= has == Some(false);
            });
        }
        *self = match (view, found, all_absent) {
            (View::Own, ..) => Self { kind: Kind::Host, resolve: true },
            (View::Host, true, _) => Self { kind: Kind::Host, resolve: true },
            (View::Container, true, _) => Self { kind: Kind::Namespace, resolve: true },
            (View::Unknown, true, _) => Self { kind: Kind::Unknown, resolve: true },
            (View::Host, false, true) => Self { kind: Kind::Namespace, resolve: false },
            (View::Container, false, true) => Self { kind: Kind::Host, resolve: false },
            _ => Self::default(),
        };
    }
}
