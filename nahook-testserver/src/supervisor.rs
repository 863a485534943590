//! A shell that runs a server, takes orders for it, and ends it when the test ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A script that reads orders from its input, answers each with a line, and cleans up when its input ends, which it does when
/// the test's process ends, however that ends.
#[derive(Debug)]
pub(crate) struct Supervisor {
    process: Child,
    // Taken when it is to end.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Supervisor {
    /// Runs the command that [`script`](Self::script) has begun.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut process = command
            .current_dir("/")
            // Ctrl-C is for the test; this hears of it by the end of its input.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell can be run");
        let orders = process.stdin.take();
        let answers = process
            .stdout
            .take()
            .expect("the supervisor's output is piped");
        Self {
            process,
            orders,
            answers: BufReader::new(answers),
        }
    }

    /// A shell for a script, to which arguments are yet to be added: `$1` and so on.
    pub(crate) fn script(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]);
        command
    }

    /// Gives an order and waits for the answer.
    pub(crate) fn order(&mut self, order: &str) -> String {
        let orders = self.orders.as_mut().expect("the supervisor runs");
        writeln!(orders, "{order}").expect("the supervisor listens");
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .expect("the supervisor answers");
        answer.trim_end().to_owned()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.process.wait();
    }
}
