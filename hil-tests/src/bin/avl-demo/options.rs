use std::path::PathBuf;

/// The whole system on this machine: cloud, one gateway with a GNSS receiver, a simulated fleet, the live map
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "avl-demo", version)]
pub(crate) struct Options {
    /// Read a real receiver instead of the virtual one
    #[arg(long, value_name = "DEVICE", conflicts_with = "nmea")]
    pub(crate) serial: Option<PathBuf>,

    /// Bits per second of the real receiver
    #[arg(long, value_name = "RATE", default_value_t = 9600)]
    pub(crate) baud: u32,

    /// Let the virtual receiver print this log, over and over
    #[arg(long, value_name = "FILE")]
    pub(crate) nmea: Option<PathBuf>,

    /// Print the log once
    #[arg(long, requires = "nmea")]
    pub(crate) once: bool,

    /// Print the log so many times as fast as it was recorded
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, requires = "nmea")]
    pub(crate) speed: f64,

    /// Simulated vehicles beside the gateway
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub(crate) vehicles: usize,

    /// Stop after so many seconds; without it, Ctrl-C stops
    #[arg(long, value_name = "SECONDS")]
    pub(crate) duration: Option<f64>,
}
