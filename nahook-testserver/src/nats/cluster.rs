//! Three NATS servers that are a cluster.

use std::thread;
use std::time::{Duration, Instant};

use super::monitor;
use super::options::NatsOptions;
use super::server::{NatsServer, START_TIMEOUT, free_ports};

/// Number of servers of a cluster.
const SIZE: usize = 3;

/// Three servers on loopback, each with a folder, ports and a supervisor of its own, that know each other.
#[derive(Debug)]
pub struct NatsCluster {
    nodes: Vec<NatsServer>,
}

impl NatsOptions {
    /// Starts three servers that are a cluster.
    pub fn start_cluster(&self) -> NatsCluster {
        NatsCluster::start_with(self)
    }
}

impl NatsCluster {
    pub(super) fn start_with(options: &NatsOptions) -> Self {
        // Somebody else may take a port in between; then others are tried.
        for _ in 0..10 {
            let ports: [u16; SIZE * 3] = free_ports();
            let (clients, rest) = ports.split_at(SIZE);
            let (monitors, routes) = rest.split_at(SIZE);
            let addresses: Vec<_> = routes
                .iter()
                .map(|port| format!(r#""nats://127.0.0.1:{port}""#))
                .collect();
            let addresses = addresses.join(", ");
            let nodes = (0..SIZE)
                .map(|i| {
                    let route = routes[i];
                    let block = format!(
                        r#"cluster {{ name: "test", listen: "127.0.0.1:{route}", routes: [ {addresses} ] }}"#
                    );
                    NatsServer::spawn(options, &name(i), clients[i], monitors[i], &block)
                })
                .collect();
            let cluster = Self { nodes };
            if cluster.is_ready_in_time() {
                return cluster;
            }
            let mut nodes = cluster.nodes.iter();
            assert!(
                nodes.any(NatsServer::is_beaten_to_a_port),
                "{}",
                cluster.nodes[0].failure()
            );
        }
        panic!("there are no free ports");
    }

    /// Returns the URL for clients: every server, separated by commas.
    pub fn url(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(NatsServer::url).collect();
        urls.join(",")
    }

    /// The servers.
    pub fn nodes(&self) -> &[NatsServer] {
        &self.nodes
    }

    /// Returns the server that leads a stream; `None` while there is no leader, or no such stream.
    pub fn stream_leader(&self, stream: &str) -> Option<usize> {
        // One that is dead does not answer, and one that was frozen may be behind: most win.
        let mut votes = [0_usize; SIZE];
        for node in &self.nodes {
            let leader = monitor::stream_leader(node.monitor(), stream);
            if let Some(i) = (0..SIZE).find(|i| leader == Some(name(*i))) {
                votes[i] += 1;
            }
        }
        (0..SIZE).find(|i| votes[*i] > 1)
    }

    /// Waits until all servers run, have caught up, and know one leader of the cluster, and a stream can be placed on all.
    pub fn wait_until_ready(&self) {
        assert!(self.is_ready_in_time(), "{}", self.nodes[0].failure());
    }

    fn is_ready_in_time(&self) -> bool {
        let started = Instant::now();
        while started.elapsed() < START_TIMEOUT {
            if self.is_ready() {
                return true;
            }
            if self.nodes.iter().any(NatsServer::is_beaten_to_a_port) {
                return false;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Checks that the same server leads before and after a stream was placed: another one may take its peers for offline.
    fn is_ready(&self) -> bool {
        let nodes = &self.nodes;
        let leader = self.meta_leader();
        leader.is_some()
            && nodes.iter().all(|node| monitor::is_healthy(node.monitor()))
            && nodes[0].places_stream(SIZE)
            && leader == self.meta_leader()
    }

    /// Name of the leader on which all servers agree.
    fn meta_leader(&self) -> Option<String> {
        let mut leaders = self
            .nodes
            .iter()
            .map(|node| monitor::meta_leader(node.monitor(), SIZE));
        let first = leaders.next()??;
        leaders
            .all(|leader| leader.as_ref() == Some(&first))
            .then_some(first)
    }
}

fn name(i: usize) -> String {
    format!("n{i}")
}
