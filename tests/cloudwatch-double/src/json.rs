//! The store and the requests as JSON, and the two pages that show it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::http::{Head, Response};
use crate::message::Datum;
use crate::service::{Request, Service, State};
use crate::statistics::Statistics;
use crate::store::{Query, Series};

/// A GET: `/dump`, or `/statistics?namespace=…&name=…`.
pub(crate) fn answer(head: &Head, service: &Service) -> Response {
    let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
    let page = match path {
        "/dump" => Ok(dump(&service.state())),
        "/statistics" => statistics(query, &service.state()),
        _ => return Response::new(404, "text/plain", "There are /dump and /statistics.\n"),
    };
    match page {
        Ok(page) => Response::new(200, "application/json", format!("{page}\n")),
        Err(error) => Response::new(400, "text/plain", error + "\n"),
    }
}

/// Every bucket, however old.
pub(crate) fn dump(state: &State) -> Value {
    let bucket = |(series, start, resolution, statistics): (&Series, _, _, _)| {
        let mut bucket = point(start, &series.unit, statistics);
        bucket["namespace"] = series.namespace.as_str().into();
        bucket["name"] = series.name.as_str().into();
        bucket["dimensions"] = dimensions(series.dimensions.iter());
        bucket["resolution"] = json!(resolution);
        bucket
    };
    state.store.all().map(bucket).collect()
}

/// The datapoints of one metric, with CloudWatch's retention.
fn statistics(query: &str, state: &State) -> Result<Value, String> {
    let (mut namespace, mut name, mut wanted) = (None, None, Vec::new());
    let (mut period, mut from, mut to) = (60, UNIX_EPOCH, state.now() + Duration::from_secs(86_400));
    for parameter in query.split('&') {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = unescape(value).ok_or_else(|| format!("{parameter}: not URL-encoded UTF-8"))?;
        let seconds = || value.parse::<u32>().map_err(|error| format!("{parameter}: {error}"));
        match key {
            "namespace" => namespace = Some(value),
            "name" => name = Some(value),
            "dimension" => {
                let (name, value) = value.split_once('=').ok_or_else(|| format!("{parameter}: no Name=Value"))?;
                wanted.push((name.to_owned(), value.to_owned()));
            }
            "period" => period = seconds()?,
            "from" => from = UNIX_EPOCH + Duration::from_secs(seconds()?.into()),
            "to" => to = UNIX_EPOCH + Duration::from_secs(seconds()?.into()),
            _ => return Err(format!("unknown parameter {key}")),
        }
    }
    let (Some(namespace), Some(name)) = (namespace, name) else {
        return Err("namespace and name are required".to_owned());
    };
    let query = Query {
        namespace: &namespace,
        name: &name,
        dimensions: wanted.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        period: Duration::from_secs(period.into()),
    };
    let points = state.store.query(&query, from..to, state.now());
    Ok(points.iter().map(|found| point(found.start, &found.unit, &found.statistics)).collect())
}

fn point(start: SystemTime, unit: &str, statistics: &Statistics) -> Value {
    json!({
        "start": humantime::format_rfc3339_seconds(start).to_string(),
        "unit": unit,
        "sample_count": statistics.sample_count,
        "sum": statistics.sum,
        "minimum": statistics.minimum,
        "maximum": statistics.maximum,
        "average": statistics.average(),
        "p50": statistics.percentile(50.0),
        "p99": statistics.percentile(99.0),
        "values": statistics.values().map(|(value, count)| json!([value, count])).collect::<Value>(),
    })
}

/// A request as one line. Numbers JSON lacks (NaN) become null.
pub(crate) fn request(request: &Request) -> Value {
    let datum = |datum: &Datum| {
        json!({
            "name": datum.metric_name,
            "dimensions": dimensions(datum.dimensions.iter()),
            "timestamp": datum.timestamp,
            "unit": datum.unit,
            "storage_resolution": datum.storage_resolution,
            "value": datum.value,
            "values": datum.values,
            "counts": datum.counts,
            "statistic_values": datum.statistic_values.map(|set| json!({
                "sample_count": set.sample_count,
                "sum": set.sum,
                "minimum": set.minimum,
                "maximum": set.maximum,
            })),
        })
    };
    json!({
        "raw_bytes": request.raw_bytes,
        "uncompressed_bytes": request.uncompressed_bytes,
        "status": request.status,
        "namespace": request.input.as_ref().map(|input| &input.namespace),
        "metric_data": request.input.iter().flat_map(|input| input.metric_data.iter().map(datum)).collect::<Value>(),
    })
}

fn dimensions<'a>(dimensions: impl Iterator<Item = &'a (String, String)>) -> Value {
    Value::Object(dimensions.map(|(name, value)| (name.clone(), value.as_str().into())).collect())
}

/// Undoes URL encoding.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}
