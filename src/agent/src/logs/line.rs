//! The CRI log line: `<RFC 3339 time> <stdout|stderr> <P|F>[:tags] <content>\n`.

use bytes::{BufMut, BytesMut};
use jiff::Timestamp;

/// One parsed line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Time as written by the runtime.
    pub time: &'a str,
    /// Whether the content goes to standard error.
    pub stderr: bool,
    /// Content; ends in a line feed unless the line is partial.
    pub content: &'a [u8],
}

/// Parses one raw line (with or without its line feed). `None` when it is not in the CRI format.
#[must_use]
pub fn parse(raw: &[u8]) -> Option<Line<'_>> {
    let (time, rest) = split_space(raw)?;
    let (stream, rest) = split_space(rest)?;
    let (tags, content) = split_space(rest)?;
    let stderr = match stream {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    let partial = match tags.split(|b| *b == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    let content = if partial { content.strip_suffix(b"\n").unwrap_or(content) } else { content };
    Some(Line { time: std::str::from_utf8(time).ok()?, stderr, content })
}

fn split_space(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|b| *b == b' ')?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// The time with nine fractional digits, as `kubectl logs --timestamps` shows it.
fn fixed_time(time: &str, out: &mut BytesMut) {
    let zone = time.find(['Z', '+']).or_else(|| time.rfind('-').filter(|at| *at > 10)).unwrap_or(time.len());
    let (moment, zone) = time.split_at(zone);
    let (seconds, fraction) = moment.split_once('.').unwrap_or((moment, ""));
    out.put_slice(seconds.as_bytes());
    out.put_u8(b'.');
    let fraction = &fraction.as_bytes()[..fraction.len().min(9)];
    out.put_slice(fraction);
    out.put_bytes(b'0', 9 - fraction.len());
    out.put_slice(zone.as_bytes());
}

/// Turns raw lines into what a client sees.
#[derive(Debug)]
pub struct Renderer {
    since: Option<Timestamp>,
    timestamps: bool,
    /// Bytes that may still be sent.
    remaining: Option<u64>,
    /// Which streams are wanted: (stdout, stderr).
    streams: (bool, bool),
    at_line_start: bool,
}

impl Renderer {
    /// A renderer at the start of a log.
    #[must_use]
    pub fn new(
        since: Option<Timestamp>,
        timestamps: bool,
        limit_bytes: Option<u64>,
        streams: (bool, bool),
    ) -> Self {
        Self { since, timestamps, remaining: limit_bytes, streams, at_line_start: true }
    }

    /// Appends the line's text to `out`; false when the byte limit is reached and nothing more will be sent.
    pub fn push(&mut self, raw: &[u8], out: &mut BytesMut) -> bool {
        let Some(line) = parse(raw) else {
            tracing::debug!(bytes = raw.len(), "log line is not in the CRI format, skipped");
            return true;
        };
        if (line.stderr && !self.streams.1) || (!line.stderr && !self.streams.0) {
            return true;
        }
        if let Some(since) = self.since
            && line.time.parse::<Timestamp>().is_ok_and(|time| time < since)
        {
            return true;
        }
        let start = out.len();
        if self.timestamps && self.at_line_start {
            fixed_time(line.time, out);
            out.put_u8(b' ');
        }
        out.put_slice(line.content);
        self.at_line_start = line.content.ends_with(b"\n");
        let Some(remaining) = &mut self.remaining else { return true };
        let added = out.len() - start;
        let allowed = usize::try_from(*remaining).unwrap_or(usize::MAX).min(added);
        out.truncate(start + allowed);
        *remaining -= allowed as u64;
        *remaining > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(renderer: &mut Renderer, lines: &[&str]) -> String {
        let mut out = BytesMut::new();
        for line in lines {
            if !renderer.push(line.as_bytes(), &mut out) {
                break;
            }
        }
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn partial_lines_are_joined_and_get_one_timestamp() {
        let mut renderer = Renderer::new(None, true, None, (true, true));
        let text = render(
            &mut renderer,
            &[
                "2026-01-02T03:04:05.12Z stdout P one \n",
                "2026-01-02T03:04:05.13Z stdout P two \n",
                "2026-01-02T03:04:05.14Z stdout F three\n",
                "2026-01-02T03:04:05.000000001+02:00 stderr F next\n",
            ],
        );
        assert_eq!(
            text,
            "2026-01-02T03:04:05.120000000Z one two three\n2026-01-02T03:04:05.000000001+02:00 next\n"
        );
    }

    #[test]
    fn a_byte_limit_cuts_in_the_middle_of_a_line() {
        let mut renderer = Renderer::new(None, false, Some(7), (true, true));
        let text = render(
            &mut renderer,
            &["2026-01-02T03:04:05Z stdout F abcd\n", "2026-01-02T03:04:05Z stdout F efgh\n"],
        );
        assert_eq!(text, "abcd\nef");
    }

    #[test]
    fn lines_before_since_and_lines_that_are_no_log_lines_are_left_out() {
        let mut renderer =
            Renderer::new(Some("2026-01-02T03:04:06Z".parse().unwrap()), false, None, (true, true));
        let text = render(
            &mut renderer,
            &[
                "2026-01-02T03:04:05.9Z stdout F old\n",
                "garbage\n",
                "2026-01-02T03:04:06Z stdout F new\n",
                "2026-01-02T05:04:06.5+02:00 stdout F zone\n",
            ],
        );
        assert_eq!(text, "new\nzone\n");
    }

    #[test]
    fn a_line_with_tags_and_spaces_keeps_its_content() {
        assert_eq!(
            parse(b"2026-01-02T03:04:05Z stdout P:x a b \n").map(|l| l.content.to_vec()),
            Some(b"a b ".to_vec())
        );
        assert_eq!(parse(b"2026-01-02T03:04:05Z stdin F a\n"), None);
        assert_eq!(
            parse(b"2026-01-02T03:04:05Z stdout F \n").map(|l| l.content.to_vec()),
            Some(b"\n".to_vec())
        );
    }
}
