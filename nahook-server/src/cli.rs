//! The command line.

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::apply::ApplyArgs;
use crate::arguments::without_empty;
use crate::import::ImportArgs;
use crate::keys::KeysArgs;
use crate::listen::ListenArgs;
use crate::operate::{DryRunArgs, RetryArgs, TestEventArgs};
use crate::send::SendArgs;
use crate::serve;
use crate::settings::SettingsArgs;
use crate::tokens::TokensArgs;
use crate::trigger::TriggerArgs;
use crate::{
    ServerError, apply, demo, import, keys, listen, operate, output, send, tokens, trigger,
};

/// Webhook fan-out: one event in, one signed delivery for every subscribed endpoint out.
#[derive(Debug, Parser)]
#[command(name = "nahook", version, args_conflicts_with_subcommands = true)]
#[non_exhaustive]
pub struct Cli {
    /// Command to run; `serve` if absent.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings of `serve`.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Commands of the program.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Make what a manifest declares exist: workspaces, event types, endpoints, subscriptions, keys.
    Apply(Box<ApplyArgs>),
    /// Queue what was given up again: one delivery, or all of an endpoint since a time.
    Retry(RetryArgs),
    /// Send to one endpoint through a running server.
    Send(SendArgs),
    /// Send a test event to one endpoint through a running server.
    TestEvent(TestEventArgs),
    /// Tell who would get an event of a type, and who would not and why.
    DryRun(DryRunArgs),
    /// Show everything in a few seconds: a server, receivers, one of them failing, a trigger.
    Demo,
    /// Bring the history of another server along: deliveries with their attempts.
    Import(Box<ImportArgs>),
    /// Make, list, disable and revoke ingestion keys.
    Keys(Box<KeysArgs>),
    /// Receive webhooks, check their signatures and print them.
    Listen(ListenArgs),
    /// Take events in and deliver them.
    Serve(Box<SettingsArgs>),
    /// Make, list, disable and revoke management tokens.
    Tokens(Box<TokensArgs>),
    /// Trigger an event at a running server.
    Trigger(TriggerArgs),
}

/// Exit code that shells report for a program that was ended because nobody read its output.
const EXIT_BROKEN_PIPE: u8 = 141;

/// Runs the program: reads the arguments, does what they say, reports an error.
pub fn main() -> ExitCode {
    let (mut command, arguments) = without_empty(Cli::command(), std::env::args_os());
    let matches = command.try_get_matches_from_mut(arguments);
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match cli.map_err(|error| error.format(&mut command)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are an error here, which goes to standard output.
            let printed = error.print().map_err(ServerError::Output);
            return match printed {
                Err(failed) if !error.use_stderr() => report(&failed),
                _ => u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
            };
        }
    };
    run(cli).unwrap_or_else(|error| report(&error))
}

fn report(error: &ServerError) -> ExitCode {
    match error {
        // Whoever read has seen enough.
        ServerError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::from(EXIT_BROKEN_PIPE)
        }
        error => {
            output::print_error(&format!("nahook: {}\n", error.report()));
            ExitCode::FAILURE
        }
    }
}

/// Runs the command on a runtime of its own.
pub fn run(cli: Cli) -> Result<ExitCode, ServerError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(dispatch(cli));
    // A look-up that the operating system does not give back must not keep the process alive.
    runtime.shutdown_background();
    ended
}

async fn dispatch(cli: Cli) -> Result<ExitCode, ServerError> {
    match cli.command {
        None => Box::pin(serve::run(cli.settings)).await,
        Some(Command::DryRun(args)) => operate::dry_run(args).await,
        Some(Command::Retry(args)) => operate::retry(args).await,
        Some(Command::Send(args)) => send::run(args).await,
        Some(Command::TestEvent(args)) => operate::test_event(args).await,
        Some(Command::Serve(settings)) => Box::pin(serve::run(*settings)).await,
        Some(Command::Apply(args)) => apply::run(*args).await,
        Some(Command::Demo) => Box::pin(demo::run()).await,
        Some(Command::Import(args)) => import::run(*args).await,
        Some(Command::Keys(args)) => keys::run(*args).await,
        Some(Command::Listen(args)) => listen::run(args).await,
        Some(Command::Tokens(args)) => tokens::run(*args).await,
        Some(Command::Trigger(args)) => trigger::run(args).await,
    }
}
