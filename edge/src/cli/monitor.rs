use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use avl_edge::config;
use avl_edge::health::Seen;
use avl_edge::health::client::{self, AskError};
use avl_edge::health::log::LogLine;
use avl_edge::health::monitor::{self, Model};
use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::status;

/// Watch the running agent: sky, fix, rates, buffer, link, log.
///
/// Needs a terminal of 80 by 24; q ends it, ? explains it. Ends with 2 when no agent answers at the start.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  avl-edge monitor\n  avl-edge monitor --ascii      on a serial console"
)]
pub(super) struct Arguments {
    /// The gateway's configuration, which says where the agent's socket is.
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    config: PathBuf,
    /// Ask at this socket, whatever the configuration says.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Only characters that every terminal has.
    #[arg(long)]
    ascii: bool,
}

/// How long a key may wait to be seen.
const KEY_INTERVAL: Duration = Duration::from_millis(100);
/// Until the agent is looked for again.
const RETRY: Duration = Duration::from_secs(1);

enum News {
    Document(Box<Seen>),
    Log(Vec<LogLine>),
    Lost(String),
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let socket = status::socket(arguments.socket.as_deref(), &arguments.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before the screen is taken: what is wrong now should stay readable.
    let mut model = Model { ascii: arguments.ascii, ..Model::default() };
    match runtime.block_on(client::status(&socket)) {
        Ok(seen) => model.take(seen),
        Err(error @ (AskError::NotRunning { .. } | AskError::Permission { .. })) => {
            eprintln!("avl-edge: {error}");
            return Ok(ExitCode::from(status::NOT_RUNNING));
        }
        Err(error) => return Err(error.into()),
    }
    let (send, news) = mpsc::sync_channel(4);
    // Ends with the process: it waits on the socket, not on us.
    std::thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || runtime.block_on(follow(&socket, &send)))?;
    let mut terminal = ratatui::try_init()?;
    let outcome = show(&mut terminal, &mut model, &news);
    ratatui::restore();
    outcome.map(|()| ExitCode::SUCCESS).map_err(Into::into)
}

/// Sends what is new until nobody listens.
async fn follow(socket: &std::path::Path, news: &mpsc::SyncSender<News>) {
    let mut last_line = 0;
    loop {
        let lost = match client::watch(socket).await {
            Err(error) => error.to_string(),
            Ok(mut watch) => loop {
                match watch.next().await {
                    Ok(Some(seen)) => {
                        if news.send(News::Document(Box::new(seen))).is_err() {
                            return;
                        }
                    }
                    Ok(None) => break "the agent has ended; waiting for it".to_owned(),
                    Err(error) => break error.to_string(),
                }
                if let Ok(lines) = client::log(socket, last_line).await {
                    last_line = lines.last().map_or(last_line, |line| line.number);
                    if !lines.is_empty() && news.send(News::Log(lines)).is_err() {
                        return;
                    }
                }
            },
        };
        // A new agent counts its lines anew.
        last_line = 0;
        if news.send(News::Lost(lost)).is_err() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    model: &mut Model,
    news: &mpsc::Receiver<News>,
) -> io::Result<()> {
    loop {
        terminal.draw(|frame| monitor::draw(frame, model))?;
        match news.recv_timeout(KEY_INTERVAL) {
            Ok(News::Document(seen)) => model.take(*seen),
            Ok(News::Log(lines)) => model.take_log(lines),
            Ok(News::Lost(why)) => model.lost = Some(why),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        while event::poll(Duration::ZERO)? {
            if let Event::Key(key) = event::read()? {
                let control_c =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    _ if key.kind == KeyEventKind::Release => {}
                    _ if control_c => return Ok(()),
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('?') => model.help = !model.help,
                    _ => {}
                }
            }
        }
    }
}
