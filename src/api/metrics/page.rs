//! `/docs/metrics`: what each metric says, from the same table as the metrics themselves.

use std::fmt::Write;

use super::table::GROUPS;

/// The whole page.
pub fn page() -> String {
    let mut out = String::with_capacity(16 << 10);
    out.push_str(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Veza metrics</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"stylesheet\" href=\"/docs/style.css\"></head><body>\n<h1>Metrics</h1>\n\
         <p>What <code>/metrics</code> serves. No label comes from what users send.</p>\n",
    );
    for (group, metrics) in GROUPS {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "<h2>{group}</h2>\n<table><tr><th>Name</th><th>Type</th><th>Unit</th><th>Labels</th><th></th></tr>"
        );
        for metric in metrics {
            let (name, kind, unit, labels) =
                (metric.name, metric.kind.name(), metric.unit(), metric.source.labels().join(", "));
            let _ = writeln!(
                out,
                "<tr><td><code>{name}</code></td><td>{kind}</td><td>{unit}</td><td>{labels}</td><td>{}</td></tr>",
                metric.help
            );
        }
        out.push_str("</table>\n");
    }
    out.push_str("</body></html>\n");
    out
}
