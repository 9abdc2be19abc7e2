//! The exporters of windows, as one: who gets each closed window, what their ledgers show, and how they stop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hostgauge_collectors::catalogue::{
    DELIVERY_AMBIGUOUS, DELIVERY_CLOCK_SKEW, DELIVERY_DROPPED, DELIVERY_DURABLE, DELIVERY_LAST_SUCCESS,
    DELIVERY_OLDEST_PENDING, DELIVERY_PENDING, DELIVERY_PUBLISHED, DELIVERY_REQUESTS, DELIVERY_SENT, DELIVERY_TAKEN,
};
use hostgauge_collectors::{Device, Sample};
use hostgauge_exporters::cloudwatch::{Publisher, Status};
use hostgauge_exporters::emf::Emf;
use hostgauge_exporters::ledger::{Reason, Totals};
use hostgauge_exporters::publication::Publication;
use hostgauge_exporters::windows::Window;

const CLOUDWATCH: &str = "cloudwatch";
const EMF: &str = "emf";

/// What was asked for, running.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    cloudwatch: Mutex<Option<Publisher>>,
    emf: Mutex<Option<Lines>>,
}

/// Lines of the embedded metric format.
#[derive(Debug)]
struct Lines {
    publication: Publication,
    period: Duration,
    emf: Emf,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Deliveries {
    pub(crate) fn cloudwatch(&self, publisher: Publisher) {
        *lock(&self.cloudwatch) = Some(publisher);
    }

    pub(crate) fn emf(&self, emf: Emf, publication: Publication, period: Duration) {
        *lock(&self.emf) = Some(Lines { publication, period, emf });
    }

    /// Hands a closed window to everyone who publishes its period.
    pub(crate) fn take(&self, window: &Arc<Window>) {
        if let Some(publisher) = &*lock(&self.cloudwatch) {
            publisher.take(window);
        }
        if let Some(lines) = lock(&self.emf).as_ref().filter(|lines| lines.period == window.period) {
            lines.emf.publish(lines.publication.data(window));
        }
    }

    /// The ledgers, as samples.
    pub(crate) fn samples(&self, out: &mut Vec<Sample>) {
        if let Some(publisher) = &*lock(&self.cloudwatch) {
            status(&publisher.status(), out);
        }
        if let Some(lines) = &*lock(&self.emf) {
            totals(&lines.emf.totals(), EMF, out);
        }
    }

    /// Something that ends [`finish`](Self::finish) at once, from another thread.
    pub(crate) fn hurry(&self) -> impl Fn() + Send + Sync + use<> {
        let hurry = lock(&self.cloudwatch).as_ref().map(Publisher::hurry);
        move || {
            if let Some(hurry) = &hurry {
                hurry();
            }
        }
    }

    /// Delivers what it can until `patience` ends, and says in the log what became of everything.
    pub(crate) fn finish(&self, patience: Duration) {
        if let Some(lines) = lock(&self.emf).take() {
            let totals = lines.emf.finish(patience.min(Duration::from_secs(2)));
            log::info!("emf: {totals}");
        }
        let publisher = lock(&self.cloudwatch).take();
        if let Some(publisher) = publisher {
            let is_rehearsal = publisher.destination().is_none();
            let status = publisher.finish(patience);
            if is_rehearsal {
                return;
            }
            log::info!("cloudwatch: {status}");
            let pending = status.totals.pending();
            if let Some(why) = status.not_durable.filter(|_| pending > 0) {
                log::error!("cloudwatch: {pending} data were waiting in memory and are lost: {why}");
            }
        }
    }
}

fn totals(totals: &Totals, exporter: &str, out: &mut Vec<Sample>) {
    let device = Device::new([exporter]);
    for (row, value) in [
        (&DELIVERY_TAKEN, totals.taken),
        (&DELIVERY_PUBLISHED, totals.published),
        (&DELIVERY_PENDING, totals.pending()),
    ] {
        out.push(Sample::of(row, &device, value as f64));
    }
    for reason in Reason::ALL.into_iter().filter(|reason| totals.dropped(*reason) > 0) {
        let device = Device::new([exporter, reason.as_str()]);
        out.push(Sample::of(&DELIVERY_DROPPED, &device, totals.dropped(reason) as f64));
    }
}

fn status(status: &Status, out: &mut Vec<Sample>) {
    totals(&status.totals, CLOUDWATCH, out);
    let device = Device::new([CLOUDWATCH]);
    for (outcome, requests) in &status.requests {
        out.push(Sample::of(&DELIVERY_REQUESTS, &Device::new([CLOUDWATCH, outcome]), *requests as f64));
    }
    let durable = f64::from(u8::from(status.not_durable.is_none()));
    for (row, value) in [
        (&DELIVERY_AMBIGUOUS, Some(status.totals.ambiguous as f64)),
        (&DELIVERY_SENT, Some(status.sent_bytes as f64)),
        (&DELIVERY_LAST_SUCCESS, status.last_success.map(seconds)),
        (&DELIVERY_OLDEST_PENDING, status.oldest.map(seconds)),
        (&DELIVERY_CLOCK_SKEW, status.skew.map(|skew| (skew * 1e3).round() / 1e3)),
        (&DELIVERY_DURABLE, Some(durable)),
    ] {
        out.extend(value.map(|value| Sample::of(row, &device, value)));
    }
}

/// In whole milliseconds: finer digits would be noise, and bytes on the page.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as f64 / 1e3
}
