//! Writes into a transcript what the servers answer: the judge's reply on a line `<`, what others
//! say differently on lines of their own.
//!
//! A line that a server's replies match stays as it is, holes and all; so a recorded file can be
//! recorded again. Every case runs on several processes: what differs between them, because it is
//! random or a matter of time, becomes a hole, and an order that differs becomes `~[...]`.

use super::compare::{Dialect, Names, generalize, matches, with_nulls_of};
use super::notation;
use super::reply::Reply;
use super::run::{Requests, Sent, Server, is_unheard_of};
use super::tcp::TcpServer;
use super::transcript::{Case, Expected, Selector, Target, Transcript};
use std::path::PathBuf;

/// Two replies in random order look ordered to all processes of the judge once in 2,048 times.
const JUDGE_PROCESSES: usize = 6;
const OTHER_PROCESSES: usize = 3;
const COLUMNS_MAX: usize = 100;

/// The processes of one kind of server: as many speak RESP2 as speak RESP3.
struct Witness {
    target: Target,
    servers: Vec<TcpServer>,
}

/// What one process answered in one case: for each step the clients and their replies.
struct Answers {
    dialect: Dialect,
    steps: Vec<Vec<(usize, Reply)>>,
}

/// One reply as all processes of one witness gave it.
type Testimony = Vec<(Dialect, Reply)>;

pub struct Recorder {
    judge: Witness,
    others: Vec<Witness>,
}

impl Recorder {
    /// The first program is the judge.
    pub fn start(programs: &[(Target, PathBuf)]) -> Recorder {
        let mut witnesses = programs.iter().enumerate().map(|(index, (target, program))| {
            let count = if index == 0 { JUDGE_PROCESSES } else { OTHER_PROCESSES };
            let start = |dialect| TcpServer::start(program, *target, dialect);
            let servers = (0..count).flat_map(|_| [start(Dialect::Resp2), start(Dialect::Resp3)]);
            Witness { target: *target, servers: servers.collect() }
        });
        let judge = witnesses.next().expect("there is a judge");
        Recorder { judge, others: witnesses.collect() }
    }

    /// The transcript's text, with the replies of all witnesses.
    pub fn record(&mut self, transcript: &Transcript) -> String {
        let mut texts: Vec<Vec<String>> =
            transcript.lines.iter().map(|line| vec![line.text.clone()]).collect();
        for case in &transcript.cases {
            let judge = self.judge.hear(transcript, case);
            let others: Vec<_> =
                self.others.iter_mut().map(|other| other.hear(transcript, case)).collect();
            for (index, step) in case.steps.iter().enumerate() {
                // Past a step that takes too long the file stays as it is.
                if judge.iter().any(|answers| answers.steps.len() <= index) {
                    break;
                }
                for line in step.replies.iter().flat_map(|expected| expected.lines.clone()) {
                    texts[line].clear();
                }
                let count = judge.iter().map(|answers| answers.steps[index].len()).max();
                for place in 0..count.unwrap_or(0) {
                    let (client, judge) = testimony(&judge, index, place).expect("it was counted");
                    let others = others.iter().zip(&self.others).filter_map(|(answers, other)| {
                        let (_, testimony) = testimony(answers, index, place)?;
                        Some((other.target, testimony))
                    });
                    let old = step.replies.get(place).filter(|old| old.client == client);
                    let mut new = Variants::new(old, (self.judge.target, &judge));
                    others.for_each(|(target, testimony)| new.add(target, old, &testimony));
                    texts[step.line].extend(new.print(client));
                    if let Some(old) = old {
                        texts[step.line].extend(toril_lines(transcript, old));
                    }
                }
            }
        }
        texts.concat().join("\n") + "\n"
    }
}

impl Witness {
    /// All processes go through the case at once: they spend their time waiting.
    fn hear(&mut self, transcript: &Transcript, case: &Case) -> Vec<Answers> {
        std::thread::scope(|scope| {
            let hearings: Vec<_> = self
                .servers
                .iter_mut()
                .map(|server| scope.spawn(|| hear(server, transcript, case)))
                .collect();
            hearings.into_iter().map(|it| it.join().expect("the server answers")).collect()
        })
    }
}

fn hear(server: &mut TcpServer, transcript: &Transcript, case: &Case) -> Answers {
    let dialect = server.dialect();
    let mut answers = Answers { dialect, steps: Vec::new() };
    let mut names = Names::new();
    let mut requests = Requests::default();
    server.begin(case);
    for step in &case.steps {
        let sender = match requests.carry_out(server, &step.action, &names) {
            Sent::TooFar => break,
            Sent::To(client) => {
                server.settle(client);
                Some(client)
            }
            Sent::Nowhere => None,
        };
        let others = server.clients().into_iter().filter(|client| Some(*client) != sender);
        let mut replies = Vec::new();
        for client in sender.into_iter().chain(others) {
            replies.extend(server.receive_all(client).into_iter().map(|reply| (client, reply)));
        }
        let mut is_as_wanted = !step.replies.is_empty();
        for (expected, (_, reply)) in step.replies.iter().zip(&replies) {
            let wanted = expected.for_target(server.target(), dialect == Dialect::Resp3);
            is_as_wanted &= matches(wanted, reply, dialect, &mut names);
        }
        let is_unheard_of = replies.iter().any(|(_, reply)| is_unheard_of(reply));
        if is_unheard_of && !is_as_wanted && server.target() != transcript.judge() {
            break;
        }
        answers.steps.push(replies);
    }
    answers
}

/// The reply at one place of a step, and its client; `None` if nobody got so far.
fn testimony(answers: &[Answers], step: usize, place: usize) -> Option<(usize, Testimony)> {
    let at_place = |answers: &Answers| answers.steps.get(step)?.get(place).cloned();
    let (client, _) = answers.iter().find_map(at_place)?;
    let replies = answers.iter().map(|answers| match at_place(answers) {
        Some((_, reply)) => (answers.dialect, reply),
        None => (answers.dialect, Reply::Nothing),
    });
    Some((client, replies.collect()))
}

/// The lines about one reply, as they grow from witness to witness.
struct Variants(Expected);

impl Variants {
    fn new(old: Option<&Expected>, judge: (Target, &Testimony)) -> Variants {
        let (target, judge) = judge;
        let is_about_judge = |selector: &Selector| selector.target.is_none();
        let kept = old.map(|old| Expected {
            client: old.client,
            lines: 0..0,
            variants: old
                .variants
                .iter()
                .filter(|(selector, _)| is_about_judge(selector))
                .cloned()
                .collect(),
        });
        match kept.map(Variants) {
            Some(kept) if kept.agrees_with(target, judge) => kept,
            _ => Variants(Expected { client: 0, lines: 0..0, variants: describe(None, judge) }),
        }
    }

    /// Adds what this witness says differently from the judge.
    fn add(&mut self, target: Target, old: Option<&Expected>, testimony: &Testimony) {
        if self.agrees_with(target, testimony) {
            return;
        }
        let count = self.0.variants.len();
        let is_about_it = |selector: &Selector| selector.target == Some(target);
        let old = old.iter().flat_map(|old| &old.variants);
        self.0.variants.extend(old.filter(|(selector, _)| is_about_it(selector)).cloned());
        if !self.agrees_with(target, testimony) {
            self.0.variants.truncate(count);
            self.0.variants.extend(describe(Some(target), testimony));
        }
    }

    fn agrees_with(&self, target: Target, testimony: &Testimony) -> bool {
        testimony.iter().all(|(dialect, reply)| {
            let wanted = self.0.for_target(target, *dialect == Dialect::Resp3);
            matches(wanted, reply, *dialect, &mut Names::new())
        })
    }

    fn print(&self, client: usize) -> Vec<String> {
        let client = if client == 1 { String::new() } else { client.to_string() };
        let print = |(selector, reply): &(Selector, Reply)| {
            let start = format!("{client}<{} ", selector.print());
            let reply = notation::print(reply, COLUMNS_MAX - start.len());
            start + &reply
        };
        self.0.variants.iter().map(print).collect()
    }
}

/// One line for both protocols if one can say it, else one for each.
fn describe(target: Option<Target>, testimony: &Testimony) -> Vec<(Selector, Reply)> {
    let in_dialect = |wanted: Dialect| {
        let replies = testimony.iter().filter(|(dialect, _)| *dialect == wanted);
        let replies = replies.map(|(_, reply)| reply.clone());
        replies.reduce(|a, b| generalize(&a, &b)).expect("both protocols are spoken")
    };
    let (resp2, resp3) = (in_dialect(Dialect::Resp2), in_dialect(Dialect::Resp3));
    let both = with_nulls_of(&resp3, &resp2);
    let is_enough =
        testimony.iter().all(|(dialect, reply)| matches(&both, reply, *dialect, &mut Names::new()));
    let selector = |is_resp3| Selector { target, is_resp3 };
    match is_enough {
        true => vec![(selector(false), both)],
        false => vec![(selector(false), resp2), (selector(true), resp3)],
    }
}

/// What the file says about toril itself: nobody but its author knows that.
fn toril_lines(transcript: &Transcript, old: &Expected) -> Vec<String> {
    let lines = transcript.lines[old.lines.clone()].iter().map(|line| line.text.clone());
    lines.filter(|line| line.starts_with("DIFFERS: ") || line.contains("<toril")).collect()
}
