//! The panels of text.

use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};

use super::{Model, Rates};
use crate::health::judge::{self, Part};
use crate::health::words::{bytes, duration_ms, fixes, grouped, local_time_of, position};

/// Without what a serial console cannot show.
pub(super) fn plain(text: &str, ascii: bool) -> String {
    if !ascii {
        return text.to_owned();
    }
    text.chars()
        .map(|character| match character {
            '°' => ' ',
            '→' => '>',
            '…' => '.',
            other if other.is_ascii() => other,
            _ => '?',
        })
        .collect()
}

fn line(name: &str, words: &str, model: &Model) -> Line<'static> {
    Line::raw(format!("{name:<9}{}", plain(words, model.ascii)))
}

/// What is wrong with a part, below its figures.
fn troubles(model: &Model, part: Part) -> impl Iterator<Item = Line<'static>> {
    let ascii = model.ascii;
    judge::troubles(&model.seen).into_iter().filter(move |trouble| trouble.part == part).flat_map(
        move |trouble| {
            [
                Line::from(Span::styled(
                    format!("! {}", plain(&trouble.cause, ascii)),
                    Style::new().fg(Color::Yellow),
                )),
                Line::raw(format!("  {}", plain(&trouble.cure, ascii))),
            ]
        },
    )
}

pub(super) fn fix(model: &Model) -> Vec<Line<'static>> {
    let seen = &model.seen;
    let extras = &seen.receiver.extras;
    let mut lines = Vec::new();
    match &seen.receiver.last_fix {
        None => lines.push(line("place", "none yet", model)),
        Some(fix) => {
            let place = fix.position().map_or("no position".to_owned(), |(lat, lon)| position(lat, lon));
            lines.push(line("place", &place, model));
            let mode = extras.mode.as_deref().map(|mode| format!(" {mode}")).unwrap_or_default();
            let age = seen.fix_age_ms().map(|age| format!(", {} ago", duration_ms(age))).unwrap_or_default();
            lines.push(line("fix", &format!("{}{mode}{age}", fix.quality.replace('_', " ")), model));
            let used = fix.satellites.map_or("?".to_owned(), |count| count.to_string());
            let view =
                extras.satellites_in_view.map(|count| format!(" of {count} in view")).unwrap_or_default();
            lines.push(line("used", &format!("{used}{view}"), model));
            let dop = |name: &str, value: Option<f64>| value.map(|value| format!("{name} {value:.1}"));
            let dops = [dop("H", fix.hdop), dop("V", extras.vdop), dop("P", extras.pdop)];
            lines.push(line("DOP", &dops.into_iter().flatten().collect::<Vec<_>>().join("  "), model));
            let motion = [
                fix.speed_mps.map(|speed| format!("{:.0} km/h", speed * 3.6)),
                fix.course_deg.map(|course| format!("{course:.0}°")),
                fix.alt_m.map(|altitude| format!("{altitude:.0} m")),
            ];
            lines.push(line("motion", &motion.into_iter().flatten().collect::<Vec<_>>().join(", "), model));
            if let Some(time) = &fix.time {
                lines.push(line("time", &local_time_of(time), model));
            }
            if fix.verdict != "ok" && !fix.verdict.is_empty() {
                lines.push(line("doubted", &fix.verdict, model));
            }
        }
    }
    lines.extend(troubles(model, Part::Fix));
    lines
}

pub(super) fn receiver(model: &Model) -> Vec<Line<'static>> {
    let receiver = &model.seen.receiver;
    let baud = receiver.baud.map(|baud| format!(", {baud} baud")).unwrap_or_default();
    let antenna =
        receiver.antenna.as_deref().map(|antenna| format!(", antenna {antenna}")).unwrap_or_default();
    let mut lines = vec![
        Line::raw(plain(&receiver.from, model.ascii)),
        line("state", &format!("{}{baud}{antenna}", receiver.state.state), model),
        line("rate", &rate(model.rates), model),
    ];
    let wrong: Vec<Line<'static>> = troubles(model, Part::Receiver).collect();
    if !wrong.is_empty() {
        lines.truncate(1);
        lines.extend(wrong);
    }
    lines
}

fn rate(rates: Rates) -> String {
    let Rates { sentences, fixes, damaged } = rates;
    if damaged > 0.0 {
        format!("{sentences:.1} sentences/s, {damaged:.1} damaged")
    } else {
        format!("{sentences:.1} sentences/s, {fixes:.1} fixes/s")
    }
}

pub(super) fn buffer(model: &Model) -> Vec<Line<'static>> {
    let buffer = &model.seen.buffer;
    let mut lines = vec![
        line("waiting", &fixes(buffer.waiting), model),
        line("on flash", &bytes(buffer.bytes), model),
        line("so far", &fixes(buffer.next_sequence), model),
    ];
    if let Some(day) = buffer.flash.written_bytes_per_day {
        lines.push(line("written", &format!("{} a day", bytes(day)), model));
    }
    let wrong: Vec<Line<'static>> = troubles(model, Part::Buffer).collect();
    if !wrong.is_empty() {
        lines.truncate(1);
        lines.extend(wrong);
    }
    lines
}

pub(super) fn link(model: &Model) -> Vec<Line<'static>> {
    let seen = &model.seen;
    let link = &seen.link;
    let by = link.transport.as_deref().map(|transport| format!(" by {transport}")).unwrap_or_default();
    let since =
        link.since_ms.map(|since| format!(", {}", duration_ms(seen.age_ms(since)))).unwrap_or_default();
    let confirmed = link
        .last_ack_ms
        .map_or("nothing yet".to_owned(), |last| format!("{} ago", duration_ms(seen.age_ms(last))));
    let mut lines = vec![
        line("state", &format!("{}{by}{since}", link.state), model),
        line("durable", &confirmed, model),
        line("made", &format!("{} times", grouped(link.connections)), model),
        line(
            "bytes",
            &link.bytes_per_fix.map_or("nothing sent yet".to_owned(), |each| {
                format!("{each:.1} a fix, {} in all", bytes(link.bytes_out + link.bytes_in))
            }),
            model,
        ),
    ];
    let wrong: Vec<Line<'static>> = troubles(model, Part::Link).collect();
    if !wrong.is_empty() {
        lines.truncate(2);
        lines.extend(wrong);
    }
    lines
}
