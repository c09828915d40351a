//! `avl-edge monitor`: the running agent on a terminal of 80 by 24 or more.
//!
//! Pure: a [`Model`] (the last document, the rates made of two, the log) goes in, a frame comes out; the terminal and
//! the socket are the caller's. Nothing is said by colour alone, and `ascii` keeps to characters that any serial console has.

mod panels;
mod rates;
mod sky;

pub use rates::Rates;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

use super::Seen;
use super::judge;
use super::log::LogLine;

/// Below it there is no room for anything that helps.
const LEAST: (u16, u16) = (60, 16);
/// Log lines that are kept for the screen.
const LOG_LINES: usize = 100;

/// Everything that a frame shows.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub seen: Seen,
    pub rates: Rates,
    pub log: Vec<LogLine>,
    /// Only characters of ASCII.
    pub ascii: bool,
    /// The keys are explained instead.
    pub help: bool,
    /// Why there is nothing new: the agent has ended.
    pub lost: Option<String>,
}

impl Model {
    /// A new document came.
    pub fn take(&mut self, seen: Seen) {
        self.rates = Rates::between(&self.seen, &seen).unwrap_or(self.rates);
        self.seen = seen;
        self.lost = None;
    }

    /// New log lines came.
    pub fn take_log(&mut self, lines: Vec<LogLine>) {
        self.log.extend(lines);
        let surplus = self.log.len().saturating_sub(LOG_LINES);
        self.log.drain(..surplus);
    }

    /// The number behind which the next log lines are wanted.
    #[must_use]
    pub fn last_line(&self) -> u64 {
        self.log.last().map_or(0, |line| line.number)
    }
}

pub fn draw(frame: &mut Frame<'_>, model: &Model) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let words =
            format!("{} x {} is too small: {} x {} is the least", area.width, area.height, LEAST.0, LEAST.1);
        frame.render_widget(Paragraph::new(words), area);
        return;
    }
    let [title, upper, lower, log, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(3),
        Constraint::Length(6),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    let [sky, right] = Layout::horizontal([Constraint::Percentage(45), Constraint::Fill(1)]).areas(upper);
    let [fix, receiver] = Layout::vertical([Constraint::Fill(1), Constraint::Length(5)]).areas(right);
    let [buffer, link] = Layout::horizontal([Constraint::Percentage(45), Constraint::Fill(1)]).areas(lower);

    frame.render_widget(title_line(model, title.width), title);
    if model.help {
        help(frame, Rect { height: upper.height + lower.height, ..upper }, model);
    } else {
        panel(frame, sky, "sky", model, |frame, inside| sky::draw(frame.buffer_mut(), inside, model));
        paragraph(frame, fix, "fix", model, panels::fix(model));
        paragraph(frame, receiver, "receiver", model, panels::receiver(model));
        paragraph(frame, buffer, "buffer", model, panels::buffer(model));
        paragraph(frame, link, "link", model, panels::link(model));
    }
    log_tail(frame, log, model);
    frame.render_widget(Paragraph::new(" q quit   ? keys").style(Modifier::DIM), keys);
}

fn title_line(model: &Model, width: u16) -> Paragraph<'static> {
    let seen = &model.seen;
    let troubles = judge::troubles(seen).len();
    let (state, colour) = match (&model.lost, troubles) {
        (Some(lost), _) => (lost.clone(), Color::Red),
        (None, 0) => ("healthy".to_owned(), Color::Green),
        (None, 1) => ("DEGRADED: 1 trouble".to_owned(), Color::Yellow),
        (None, many) => (format!("DEGRADED: {many} troubles"), Color::Yellow),
    };
    let up = super::words::duration_ms(seen.agent.uptime_s * 1000);
    let vehicle = seen.agent.vehicle.as_deref().unwrap_or("not enrolled");
    let left = format!(" avl-edge {}  {vehicle}  up {up}  ", seen.agent.version);
    let room = usize::from(width).saturating_sub(left.chars().count());
    let state: String = state.chars().take(room).collect();
    Paragraph::new(Line::from(vec![Span::raw(left), Span::styled(state, Style::new().fg(colour).bold())]))
}

fn panel(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &'static str,
    model: &Model,
    inside: impl FnOnce(&mut Frame<'_>, Rect),
) {
    let block = framed(title, model.ascii);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inside(frame, inner);
}

fn paragraph(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &'static str,
    model: &Model,
    lines: Vec<Line<'static>>,
) {
    panel(frame, area, title, model, |frame, inside| frame.render_widget(Paragraph::new(lines), inside));
}

/// A frame that a serial console shows as well.
fn framed(title: &'static str, ascii: bool) -> Block<'static> {
    let block = Block::bordered().title(title);
    if ascii {
        block.border_set(ratatui::symbols::border::Set {
            top_left: "+",
            top_right: "+",
            bottom_left: "+",
            bottom_right: "+",
            vertical_left: "|",
            vertical_right: "|",
            horizontal_top: "-",
            horizontal_bottom: "-",
        })
    } else {
        block
    }
}

fn log_tail(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let block = framed("log", model.ascii);
    let inside = block.inner(area);
    let first = model.log.len().saturating_sub(usize::from(inside.height));
    let lines: Vec<Line<'_>> =
        model.log[first..].iter().map(|line| Line::raw(panels::plain(&line.text, model.ascii))).collect();
    frame.render_widget(block, area);
    frame.render_widget(Paragraph::new(lines), inside);
}

fn help(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let words = [
        "q, Esc, Ctrl-C   end",
        "?                this page, and back",
        "",
        "Sky: north is up, the edge is the horizon, the middle is overhead. A satellite is",
        "the letter of its constellation and its number: G GPS, R GLONASS, E Galileo,",
        "C BeiDou, J QZSS, I NavIC, S SBAS. Capital letters are used in the fix.",
        "Green is heard at 40 dB-Hz or more, yellow at 30 or more, red below; grey not at all.",
        "",
        "For what is wrong and how to cure it: avl-edge doctor",
    ];
    let lines: Vec<Line<'static>> = words.into_iter().map(Line::raw).collect();
    paragraph(frame, area, "keys", model, lines);
}

#[cfg(test)]
mod tests;
