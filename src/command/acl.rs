//! ACL: the only user is `default`, who may do everything. The subcommands that would make other
//! users are absent.

use super::prelude::*;
use crate::engine::row::ACL_CATEGORIES;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    container("acl", "6.0.0", &[
        row("cat",    "6.0.0", AtLeast(2), Keys::none(), &[NoScript, Loading, Stale], cat, "[category]", "Lists the categories, or the commands in one."),
        help("6.0.0"),
        row("users",  "6.0.0", Exactly(2), Keys::none(), &[Admin, NoScript, Loading, Stale], users, "", "Lists the names of all users."),
        row("whoami", "6.0.0", Exactly(2), Keys::none(), &[NoScript, Loading, Stale], whoami, "", "Answers the name of the connection's user."),
    ], "Tells who may do what."),
]);

fn whoami(_cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.bulk(b"default");
    Ok(())
}

fn users(_cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.bulks(&["default"]);
    Ok(())
}

fn cat(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let Some(wanted) = args.next() else {
        reply.bulks(ACL_CATEGORIES);
        return Ok(());
    };
    let is_wanted = |name: &&&str| name.as_bytes().eq_ignore_ascii_case(wanted);
    let Some(category) = ACL_CATEGORIES.iter().find(is_wanted) else {
        return Err(Error::quoting("ERR Unknown category '", wanted, "'"));
    };
    let found = cx.table().all().filter(|found| found.is_in(category));
    let names: Vec<String> = found.map(|found| found.full_name()).collect();
    reply.bulks(&names);
    Ok(())
}
