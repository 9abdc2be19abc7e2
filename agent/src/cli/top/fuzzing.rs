//! A property of what another agent answers.

use hostgauge_exporters::prometheus::{Encoding, Format, PageBuilder};
use metrics::{Key, Label, Level, Metadata, Recorder as _};

use hostgauge_collectors::catalogue::{CPU_CORE_UTILIZATION, FILESYSTEM_USED};

use super::http::{Url, body};
use super::page::Page;
use crate::fuzzing::input::Input;

/// Whatever a server says is an answer or an error on one line; what is read of a page stands in it; and a page that we
/// write, with any label values, is read as it was meant.
pub(crate) fn top_page(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(url) = Url::parse(&text) {
        let shown = url.to_string();
        assert_eq!(Url::parse(&shown).map(|url| url.to_string()), Some(shown.clone()), "{text:?}");
        assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    match body(data) {
        Ok(body) => assert!(body.len() <= 3 * data.len()),
        Err(error) => assert!(!error.contains('\n')),
    }
    let page = Page::parse(&text);
    for metric in [&CPU_CORE_UTILIZATION, &FILESYSTEM_USED] {
        assert!(page.all(metric).len() <= text.lines().count());
        assert!(page.all(metric).iter().all(|series| series.value.is_finite()));
    }
    assert!(page.host().is_none_or(|host| !host.is_empty()));

    let mut input = Input::new(data);
    let (host, path, value) = (input.text(), input.text(), input.float());
    let Ok((recorder, page)) = PageBuilder::default().label("Host", &host).build() else { return };
    let key = Key::from_parts(FILESYSTEM_USED.name, vec![Label::new("path", path.clone())]);
    recorder.register_gauge(&key, &Metadata::new("fuzzing", Level::INFO, None)).set(value);
    let text = page.get(Format::Text, Encoding::Identity);
    let page = Page::parse(str::from_utf8(&text).unwrap_or_default());
    let read: Vec<_> = page.all(&FILESYSTEM_USED).iter().map(|series| (series.label("path"), series.value)).collect();
    let meant: Vec<_> = value.is_finite().then_some((path.as_str(), value)).into_iter().collect();
    assert_eq!(read, meant);
    assert_eq!(page.host().unwrap_or_default(), if value.is_finite() { host.as_str() } else { "" });
}
