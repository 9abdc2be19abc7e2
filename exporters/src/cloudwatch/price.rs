//! What publishing costs, so that a bill surprises nobody.
//!
//! Source: CloudWatch's list prices for us-east-1 as pricing guides quote them; the live page was not asked. Metrics
//! are metered by the hour, and only in hours in which they are sent.

use std::fmt;
use std::time::Duration;

/// When the table was last looked at.
pub const DATE: &str = "2026-11-22";
/// The region whose prices these are.
pub const REGION: &str = "us-east-1";
/// How many metrics of an account cost how many dollars each a month; a step begins where the one before ends.
const METRICS: [(u64, f64); 4] = [(10_000, 0.30), (240_000, 0.10), (750_000, 0.05), (u64::MAX, 0.02)];
/// Dollars for a PutMetricData request, whatever is in it: a cent for a thousand.
const REQUEST: f64 = 0.01 / 1000.0;
/// A month as AWS counts it: 730 hours.
const MINUTES_A_MONTH: f64 = 730.0 * 60.0;

/// The dollars of a month.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dollars {
    /// For keeping the metrics.
    pub metrics: f64,
    /// For the requests.
    pub requests: f64,
}

/// What a number of series and requests costs at list prices, were they all that the account has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// How many series; each is billed as a metric of its own.
    pub series: u64,
    /// How many requests.
    pub requests_per_minute: f64,
    /// Without the free tier.
    pub dollars_per_month: Dollars,
}

/// The estimate for so many series that are sent in so many requests each period. The period is longer than zero.
pub fn estimate(series: u64, requests_per_period: f64, period: Duration) -> Estimate {
    let requests_per_minute = requests_per_period * 60.0 / period.as_secs_f64();
    let requests = requests_per_minute * MINUTES_A_MONTH * REQUEST;
    Estimate { series, requests_per_minute, dollars_per_month: Dollars { metrics: metrics(series), requests } }
}

fn metrics(mut series: u64) -> f64 {
    let mut dollars = 0.0;
    for (step, price) in METRICS {
        let here = series.min(step);
        dollars += here as f64 * price;
        series -= here;
    }
    dollars
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dollars { metrics, requests } = self.dollars_per_month;
        // 0.2 as 0.2 and 1 as 1: nobody means 1.00 requests.
        let rate = (self.requests_per_minute * 100.0).round() / 100.0;
        write!(f, "about ${:.2} a month: ${metrics:.2} for {}", metrics + requests, plural(self.series, "metric"))?;
        write!(f, " and ${requests:.2} for {} a minute", plural(rate, "request"))?;
        write!(f, " (an estimate from the list prices of {REGION} as of {DATE}, without the free tier)")
    }
}

fn plural(count: impl fmt::Display, noun: &str) -> String {
    let count = count.to_string();
    let ending = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn cents(dollars: f64) -> i64 {
        (dollars * 100.0).round() as i64
    }

    #[test]
    fn one_host() {
        assert_eq!(cents(estimate(5, 1.0, MINUTE).dollars_per_month.metrics), 150);
        assert_eq!(cents(estimate(16, 1.0, MINUTE).dollars_per_month.metrics), 480);
    }

    #[test]
    fn requests() {
        for (requests, seconds, expected) in
            [(1.0, 60, 44), (1.0, 10, 263), (1.0, 1, 2628), (1.0, 300, 9), (2.0, 120, 44)]
        {
            let estimate = estimate(0, requests, Duration::from_secs(seconds));
            assert_eq!(cents(estimate.dollars_per_month.requests), expected, "each {seconds} s");
            assert_eq!(estimate.dollars_per_month.metrics, 0.0);
        }
        assert_eq!(estimate(0, 1.0, Duration::from_secs(10)).requests_per_minute, 6.0);
    }

    #[test]
    fn many_metrics_cost_less_each() {
        for (series, dollars) in [
            (10_000, 3_000),
            (10_010, 3_001),
            (250_000, 27_000),
            (250_020, 27_001),
            (1_000_000, 64_500),
            (1_000_050, 64_501),
        ] {
            assert_eq!(cents(metrics(series)), dollars * 100, "{series} series");
        }
        assert!(metrics(u64::MAX) > 3e17, "and no overflow");
    }

    #[test]
    fn as_people_read_it() {
        assert_eq!(
            estimate(5, 1.0, MINUTE).to_string(),
            "about $1.94 a month: $1.50 for 5 metrics and $0.44 for 1 request a minute \
             (an estimate from the list prices of us-east-1 as of 2026-11-22, without the free tier)"
        );
        let seldom = estimate(1, 1.0, MINUTE * 5).to_string();
        assert!(seldom.contains("for 1 metric and $0.09 for 0.2 requests a minute"), "{seldom}");
    }
}
