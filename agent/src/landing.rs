//! The page behind `/`: what this is, and where to go.

/// HTML for a person who opens the agent's address.
pub(crate) fn html(host: &str) -> String {
    let host = escape(host);
    let version = env!("CARGO_PKG_VERSION");
    format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>hostgauge on {host}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.6 system-ui, sans-serif; margin: 3rem auto; max-width: 40rem; padding: 0 1rem }}
</style>
<h1>hostgauge</h1>
<p>CPU, memory and disk of <strong>{host}</strong>, for Prometheus. Version {version}.</p>
<ul>
<li><a href="/metrics">/metrics</a>: the figures, as text or OpenMetrics</li>
<li><a href="/-/healthy">/-/healthy</a>: the agent answers</li>
<li><a href="/-/ready">/-/ready</a>: it has current samples</li>
</ul>
</html>
"#
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_host_cannot_write_html() {
        assert!(super::html("<script>").contains("hostgauge on &lt;script&gt;"));
    }
}
