//! TORIL: what tests ask of a server beyond what Redis does. The fixture does it
//! (engine/fixture.rs, testing/), one file a subcommand. HANDOVER alone is no test's.

use super::prelude::*;
use super::replication::hand_over;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    container("toril", "0.1.0", &[
        row("clock",   "0.1.0", AtLeast(2), Keys::none(), &[Admin, NoScript, NoMulti, Protected, ForTests], ask, "[ADVANCE <duration | TO time> [JUMP] [ANYWAY] [TIMEOUT duration] [LOCKS] | AUTO [UNTIL duration-or-time] | FREEZE [AT time] | KEEP pattern [pattern ...] | RESET | RESUME]", "Tells the time of the server's wall clock, or moves it for a test.").tips(&[VARIES]),
        row("expect",  "0.1.0", AtLeast(3), Keys::none(), &[Admin, NoScript, NoMulti, Protected, ForTests], ask, "QUEUE queue [NAME name] [DATA json] [STATE state] [COUNT count] [WITHIN ms] [BY time] [NEVER]", "Waits until something has become of a job, or tells what differs.").tips(&[VARIES]),
        row("fault",   "0.1.0", AtLeast(3), Keys::none(), &[Admin, NoScript, NoMulti, Protected, RunsOthers, ForTests], ask, "<ADD word [word ...] | CLEAR | LIST | REMOVE name>", "Has requests answered with errors, late or never, by rules.").tips(&[VARIES]),
        row("handover", "0.1.0", AtLeast(3), Keys::none(), &[Admin, NoScript, NoMulti, NoAsyncLoading, NeedsConnection, SecretLogin], hand_over, "<PAUSE milliseconds | RESUME | OVER | REACH host port [TLS] [AUTH username password] | DONE offset host port [FORWARD milliseconds [TLS] [AUTH username password]]>", "Holds writes back, tells what is over and whether a server can be reached, or leaves writes to it for good: for toril hand-over.").tips(&[VARIES]),
        row("wait",    "0.1.0", AtLeast(3), Keys::none(), &[Admin, NoScript, NoMulti, Protected, ForTests, NeedsConnection], ask, "IDLE [queue [queue ...]] [TIMEOUT ms] [HORIZON duration]", "Answers once queues have nothing left to do, or tells why they have.").tips(&[VARIES]),
        help("0.1.0"),
        row("restore", "0.1.0", AtLeast(2), Keys::none(), &[Admin, NoScript, NoMulti, Protected, RunsOthers, ForTests], ask, "[name]", "Has all data as it was when a snapshot was taken."),
        row("snapshot", "0.1.0", AtLeast(2), Keys::none(), &[Admin, NoScript, NoMulti, Protected, ForTests], ask, "[name | LIST | DROP name]", "Keeps all data as it is under a name; lists or forgets what was kept."),
        row("strict", "0.1.0", AtLeast(2), Keys::none(), &[Admin, NoScript, NoMulti, Protected, ForTests], ask, "[PROVIDER name] [check[=level] ...] | REPORT [RESET]", "Tells, or chooses, which habits of clients are looked for that do harm elsewhere; reports what was found.").tips(&[VARIES]),
    ], "For tests: moves the clock, waits for queues, looks at their jobs, makes faults, keeps data and brings it back."),
]);

fn ask(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    cx.ask_fixture(args, reply)
}
