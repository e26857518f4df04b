//! Chooses the format of a response by the `Accept` header of the request (RFC 9110, 12.5.1).

use crate::view::metrics::Format;

/// Returns the format with the highest weight in the `Accept` header. If the weights of both
/// formats are equal, the function returns the Prometheus format. If the client accepts neither
/// format, the function also returns the Prometheus format, because a response in a wrong format is
/// better than an error.
pub(super) fn format<'a>(accept: impl Iterator<Item = &'a str>) -> Format {
    let ranges: Vec<_> = accept.flat_map(|line| line.split(',')).filter_map(Range::parse).collect();
    let quality = |format| {
        let (media, version) = match format {
            Format::Prometheus => (["text/plain", "text/*", "*/*"], "0.0.4"),
            Format::OpenMetrics => {
                (["application/openmetrics-text", "application/*", "*/*"], "1.0.0")
            }
        };
        // Several media ranges can match a format. The most specific of these media ranges
        // determines the weight of the format.
        let fitting = |media: &&str| {
            let fits = |range: &&Range<'_>| {
                range.media.eq_ignore_ascii_case(media)
                    && range.version.is_none_or(|wanted| wanted == version)
            };
            ranges.iter().filter(fits).map(|range| range.thousandths).max()
        };
        media.iter().find_map(fitting).unwrap_or(0)
    };
    if quality(Format::OpenMetrics) > quality(Format::Prometheus) {
        Format::OpenMetrics
    } else {
        Format::Prometheus
    }
}

/// A media range: one element of the `Accept` header.
struct Range<'a> {
    media: &'a str,
    version: Option<&'a str>,
    /// The weight (`q`) of the media range in thousandths.
    thousandths: u32,
}

impl<'a> Range<'a> {
    fn parse(element: &'a str) -> Option<Self> {
        let mut parts = element.split(';').map(str::trim);
        let mut range = Self { media: parts.next()?, version: None, thousandths: 1000 };
        for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            if name.eq_ignore_ascii_case("version") {
                range.version = Some(value.trim_matches('"'));
            } else if name.eq_ignore_ascii_case("q") {
                range.thousandths = thousandths(value)?;
            }
        }
        Some(range)
    }
}

/// Parses a weight and returns the weight in thousandths: 750 for `0.75`.
fn thousandths(weight: &str) -> Option<u32> {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole, "0" | "1") || fraction.len() > 3 || !is_number(fraction) {
        return None;
    }
    let number: u32 = format!("{whole}{fraction:0<3}").parse().ok()?;
    Some(number.min(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_with_the_highest_weight_is_chosen() {
        use Format::{OpenMetrics, Prometheus};
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            ("", Prometheus),
            ("*/*", Prometheus),
            (prometheus_2, OpenMetrics),
            (prometheus_3, OpenMetrics),
            ("application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", OpenMetrics),
            ("application/openmetrics-text;version=2.0.0", Prometheus),
            ("application/openmetrics-text;q=0", Prometheus),
            ("application/openmetrics-text;q=0.2, text/plain;q=0.3", Prometheus),
            ("application/openmetrics-text;q=0.3, text/*;q=0.2", OpenMetrics),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Prometheus),
            ("application/json", Prometheus),
            ("application/openmetrics-text;q=9, ;;=,,q=", Prometheus),
        ] {
            assert_eq!(super::format([accept].into_iter()), format, "{accept}");
        }
    }
}
