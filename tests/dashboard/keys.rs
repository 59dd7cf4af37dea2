//! Keys and clients: what is shown of them, and what is done to them.

use super::*;

#[test]
fn keys_are_found_by_name_and_type() {
    let mut bench = Bench::new();
    for number in 0..300 {
        bench.ask(&["set", &format!("user:{number}"), "x"]);
    }
    bench.ask(&["hset", "user:hash", "field", "x"]);
    bench.ask(&["sadd", HOSTILE, "x"]);
    let view = bench.view("keys");
    assert!(view["keys"].as_array().is_some_and(|keys| (50..70).contains(&keys.len())), "{view}");
    let mut names = std::collections::BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let view = bench.view(&format!("keys?match=user&cursor={cursor}"));
        let keys = view["keys"].as_array().expect("a list");
        names.extend(keys.iter().map(|key| key["name"].to_string()));
        view["cursor"].as_str().expect("a cursor").clone_into(&mut cursor);
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(names.len(), 301);
    let only = bench.view("keys?type=hash");
    assert_eq!(only["keys"][0]["name"], "user:hash", "{only}");
    let only = bench.view("keys?match=%3Cimg*");
    assert_eq!(only["keys"].as_array().map(Vec::len), Some(1), "{only}");
    let address = only["keys"][0]["address"].as_str().expect("an address").to_owned();
    assert_eq!(bench.view(&address)["elements"], serde_json::json!([["", "x"]]));
    let html = bench.html("keys?match=%3Cimg", ALL).expect("it is shown");
    assert!(html.contains("&lt;img/src=x&gt;") && !html.contains(HOSTILE), "{html}");
    // In another database there are none.
    assert_eq!(bench.view("keys?db=3")["keys"], serde_json::json!([]));
}

#[test]
fn keys_are_counted_by_how_they_begin_and_anew_once_that_is_long_ago() {
    let mut bench = Bench::slow(20);
    let fill = "for i = 1, 5000 do redis.call('set', 'shop:cart:' .. i, i) end";
    bench.ask(&["eval", fill, "0"]);
    bench.ask(&["hset", "shop:user:1", "field", "x"]);
    bench.ask(&["sadd", &format!("shop:{HOSTILE}:1"), "x"]);
    bench.ask(&["set", "other", "x"]);
    let page = open(&mut bench, "keys?match=shop%3A");
    let first = bench.view("keys?match=shop%3A");
    assert!(first["tree"]["percent"].as_u64().is_some_and(|percent| percent < 100), "{first}");
    assert!(bench.board.is_searching(&bench.engine));
    let mut slices = 0;
    while bench.board.is_searching(&bench.engine) {
        bench.board.search(&bench.engine);
        slices += 1;
    }
    assert!(slices > 3, "{slices} slices are too few to let others in between");
    let view = bench.view("keys?match=shop%3A");
    assert_eq!((&view["tree"]["keys"], &view["tree"]["percent"]), (&5002.into(), &100.into()));
    let [name, keys, bytes] =
        &view["tree"]["branches"].as_array().expect("a list")[0].as_array().expect("a row")[..]
    else {
        panic!("{view}")
    };
    assert_eq!((name, keys), (&"cart:".into(), &5000.into()));
    assert!(bytes.as_u64().is_some_and(|bytes| bytes > 5000 * 16), "{view}");
    let html = bench.html("keys?match=shop%3A", ALL).expect("it is shown");
    assert!(html.contains("match=shop%3Auser%3A") && !html.contains(HOSTILE), "{html}");
    let html = bench.html("keys?match=shop%3A", &["~*", "+@all", "-memory|usage"]).expect("shown");
    assert!(!html.contains("class=\"bytes\""), "{html}");
    // What has changed since shows once that is five seconds ago.
    bench.ask(&["set", "shop:cart:new", "x"]);
    assert_eq!(bench.view("keys?match=shop%3A")["tree"]["keys"], 5002);
    for _ in 0..6 {
        go_on(&mut bench, 1_000);
        while bench.board.is_searching(&bench.engine) {
            bench.board.search(&bench.engine);
        }
    }
    assert_eq!(bench.view("keys?match=shop%3A")["tree"]["keys"], 5003);
    // A pattern and a type are looked for, and not counted.
    assert!(bench.view("keys?match=shop*")["tree"].is_null());
    assert!(bench.view("keys?type=hash")["tree"].is_null());
    assert!(bench.engine.outbox(page).is_some());
}

#[test]
fn a_name_among_many_is_looked_for_in_slices_until_it_is_found() {
    let mut bench = Bench::slow(20);
    let fill = "for i = 1, 1000 do redis.call('set', 'key:' .. ARGV[1] .. i, i) end";
    (0..30).for_each(|part| bench.ask(&["eval", fill, "0", &format!("{part}:")]));
    bench.ask(&["set", "needle", "x"]);
    // Two pages look for different keys, and neither hinders the other.
    let views = ["keys?match=needle*", "keys?match=absent*"];
    for view in views {
        open(&mut bench, view);
        let first = bench.view(view);
        assert_eq!((&first["settled"], &first["cursor"]), (&false.into(), &"0".into()), "{first}");
        assert!(first["visited"].as_u64().is_some_and(|visited| visited < 10_000), "{first}");
    }
    assert!(bench.html(views[0], ALL).expect("it is shown").contains("looking further"));
    let mut slices = 0;
    while bench.board.is_searching(&bench.engine) {
        bench.board.search(&bench.engine);
        slices += 1;
    }
    assert!(slices > 30, "{slices} slices are too few to let others in between");
    for (view, count) in views.into_iter().zip([1, 0]) {
        let found = bench.view(view);
        assert_eq!(found["keys"].as_array().map(Vec::len), Some(count), "{found}");
        assert_eq!((&found["settled"], &found["visited"]), (&true.into(), &30_001.into()));
    }
    // What has gone is not shown, and what is new is found a moment later.
    bench.ask(&["rename", "needle", "needles"]);
    assert_eq!(bench.view(views[0])["keys"], serde_json::json!([]));
    for _ in 0..3 {
        go_on(&mut bench, 1_000);
        while bench.board.is_searching(&bench.engine) {
            bench.board.search(&bench.engine);
        }
    }
    assert_eq!(bench.view(views[0])["keys"][0]["name"], "needles");
}

#[test]
fn a_key_is_shown_page_by_page_whatever_its_type() {
    let mut bench = Bench::new();
    bench.ask(&["set", "text", HOSTILE, "px", "60000"]);
    for at in 0..120 {
        let number = format!("{at:03}");
        bench.ask(&["rpush", "list", &number]);
        bench.ask(&["hset", "hash", &number, HOSTILE]);
        bench.ask(&["sadd", "set", &number]);
        bench.ask(&["zadd", "zset", "1.5", &number]);
        bench.ask(&["xadd", "stream", &format!("5-{}", at + 1), "name", HOSTILE]);
    }
    let text = bench.view("key/0/text");
    assert_eq!(text["elements"], serde_json::json!([["", HOSTILE]]), "{text}");
    assert_eq!(text["expires"], bench.now.wall_ms + 60_000, "{text}");
    for (name, page, first) in [
        ("list", "from=50", ["50", "050"]),
        ("hash", "from=50", ["050", HOSTILE]),
        ("zset", "from=100", ["1.5", "100"]),
        ("stream", "after=5-49", ["5-50", "name=<img/src=x>"]),
    ] {
        let view = bench.view(&format!("key/0/{name}?{page}"));
        assert_eq!(view["len"], 120, "{view}");
        assert_eq!(view["elements"][0], serde_json::json!(first), "{view}");
        let count = if page == "from=100" { 20 } else { 50 };
        assert_eq!(view["elements"].as_array().map(Vec::len), Some(count), "{view}");
    }
    let members = |bench: &mut Bench, from: usize| {
        let view = bench.view(&format!("key/0/set?from={from}"));
        view["elements"].as_array().expect("a list").clone()
    };
    let mut all: Vec<_> = [0, 50, 100].into_iter().flat_map(|it| members(&mut bench, it)).collect();
    all.sort_by_key(ToString::to_string);
    all.dedup();
    assert_eq!(all.len(), 120);
    for name in ["text", "hash", "stream"] {
        let html = bench.html(&format!("key/0/{name}"), ALL).expect("it is shown");
        assert!(html.contains("&lt;img/src=x&gt;") && !html.contains(HOSTILE), "{html}");
    }
    let absent = bench.html("key/0/none", ALL);
    assert!(matches!(&absent, Err(Trouble::Absent(_))), "{absent:?}");
    // What the user may not ask of a key it is not told.
    let rules = ["~*", "&*", "+@all", "-memory|usage", "-pttl", "-get"];
    let html = bench.html("key/0/text", &rules).expect("it is shown");
    for told in ["img", "Memory", "Expires in"] {
        assert!(!html.contains(told), "{told}: {html}");
    }
    assert!(html.contains("Encoding"), "{html}");
}

#[test]
fn an_element_is_changed_by_one_command_unless_it_has_changed_meanwhile() {
    let mut bench = Bench::new();
    bench.ask(&["set", "text", "old", "px", "60000"]);
    bench.ask(&["rpush", "list", "a", "b", "c"]);
    bench.ask(&["hset", "hash", "field", "old", "other", "x"]);
    bench.ask(&["hpexpire", "hash", "60000", "fields", "1", "field"]);
    bench.ask(&["zadd", "zset", "1", "member"]);
    let mut edit = |at: &str, key: &str, field: &str, text: &str| {
        let mut order = bench.dialog(&format!("ask/keys/edit?db=0&key={key}&at={at}"));
        order[field] = text.into();
        bench.act("keys/edit", &order).expect("it is changed");
        let view = bench.view(&format!("key/0/{key}"));
        (view["elements"].clone(), view["expires"].clone(), view["deadlines"].clone())
    };
    let expires = serde_json::json!(1_790_000_060_000_i64);
    assert_eq!(edit("", "text", "text", "new").0, serde_json::json!([["", "new"]]));
    assert_eq!(edit("", "text", "text", "newer").1, expires, "its TTL stays");
    let list = serde_json::json!([["0", "a"], ["1", HOSTILE], ["2", "c"]]);
    assert_eq!(edit("1", "list", "text", HOSTILE).0, list);
    let (hash, _, deadlines) = edit("field", "hash", "text", "new");
    assert_eq!(hash, serde_json::json!([["field", "new"], ["other", "x"]]));
    assert_eq!(deadlines[0], expires, "the field's TTL stays");
    assert_eq!(edit("member", "zset", "score", "2.5").0, serde_json::json!([["2.5", "member"]]));
    // What somebody else has changed since the dialog was opened is left.
    let mut order = bench.dialog("ask/keys/edit?db=0&key=list&at=0");
    bench.ask(&["lpush", "list", "first"]);
    order["text"] = "lost".into();
    let refused = bench.act("keys/edit", &order);
    assert!(matches!(&refused, Err(Trouble::Wrong(text)) if text.contains("changed meanwhile")));
    let order = bench.dialog("ask/keys/drop?db=0&key=list&at=3");
    assert_eq!(bench.act("keys/drop", &order).expect("it is removed")["done"], 1);
    assert_eq!(bench.view("key/0/list")["len"], 3);
    let order = bench.dialog("ask/keys/drop?db=0&key=hash&at=other");
    bench.act("keys/drop", &order).expect("it is removed");
    assert_eq!(bench.view("key/0/hash")["len"], 1);
}

#[test]
fn keys_get_elements_and_spans_and_go() {
    let mut bench = Bench::new();
    bench.ask(&["select", "3"]);
    for words in [
        ["rpush", "list", "a", ""],
        ["hset", "hash", "a", "b"],
        ["sadd", "set", "a", ""],
        ["zadd", "zset", "1", "a"],
    ] {
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        bench.ask(&words);
    }
    bench.ask(&["xadd", "stream", "1-1", "a", "b"]);
    bench.ask(&["select", "0"]);
    for key in ["list", "hash", "set", "zset", "stream"] {
        let mut order = bench.dialog(&format!("ask/keys/add?db=3&key={key}"));
        for (field, text) in [("name", "new"), ("text", HOSTILE), ("score", "-inf")] {
            order[field] = text.into();
        }
        let told = bench.act("keys/add", &order).expect("it is added");
        assert_eq!(told["told"], format!("Added it to {key}"));
        let view = bench.view(&format!("key/3/{key}"));
        assert_eq!((&view["len"], view.to_string().contains(HOSTILE)), (&2.into(), true), "{view}");
        let mut order = bench.dialog(&format!("ask/keys/expire?db=3&key={key}"));
        order["span"] = "5 min".into();
        bench.act("keys/expire", &order).expect("it expires");
        let expires = bench.view(&format!("key/3/{key}"))["expires"].clone();
        assert_eq!(expires, bench.now.wall_ms + 300_000);
        order["span"] = "".into();
        bench.act("keys/expire", &order).expect("it stays");
        assert!(bench.view(&format!("key/3/{key}"))["expires"].is_null());
        let order = bench.dialog(&format!("ask/keys/delete?db=3&key={key}"));
        assert_eq!(bench.act("keys/delete", &order).expect("it goes")["done"], 1);
        assert!(matches!(bench.act("keys/delete", &order), Err(Trouble::Absent(_))));
    }
    assert!(matches!(bench.act("keys/explode", &serde_json::json!({})), Err(Trouble::Absent(_))));
}

#[test]
fn what_a_user_may_not_do_to_keys_and_clients_has_no_button() {
    let mut bench = Bench::new();
    bench.ask(&["rpush", "list", "a"]);
    bench.ask(&["hset", "bull:mail:meta", META, "10000"]);
    let html = bench.html("key/0/list", &["~*", "&*", "+@all", "-del", "-lset"]).expect("shown");
    for (told, is_there) in [("keys/add", true), ("keys/delete", false), ("keys/edit", false)] {
        assert_eq!(html.contains(told), is_there, "{told}: {html}");
    }
    let refused = bench.html("ask/keys/delete?db=0&key=list", &["~*", "+@all", "-del"]);
    assert!(matches!(&refused, Err(Trouble::Forbidden(_))), "{refused:?}");
    // One who may change some keys only is told so of the others.
    let rules = ["%R~*", "~mine*", "+@all"];
    assert!(!bench.html("key/0/list", &rules).expect("shown").contains("keys/delete"));
    let html = bench.html("ask/keys/delete?db=0&key=bull:mail:meta", ALL).expect("it is asked");
    assert!(html.contains("It belongs to the queue mail of BullMQ"), "{html}");
    assert!(bench.html("clients", ALL).expect("shown").contains("clients/kill?id=1"));
    let html = bench.html("clients", &["~*", "&*", "+@all", "-client|kill"]).expect("shown");
    assert!(!html.contains("clients/kill"), "{html}");
    let other = bench.engine.connect(Peer::inside(), bench.now);
    let order = bench.dialog(&format!("ask/clients/kill?id={}", other.0));
    assert_eq!(bench.act("clients/kill", &order).expect("it is closed")["done"], 1);
    assert!(bench.engine.clients.get(other).is_none_or(|it| it.state == State::Closing));
}

#[test]
fn values_are_told_as_what_they_are() {
    let mut bench = Bench::new();
    let mut ask = |words: &[&[u8]]| bench.engine.run(bench.client, Args::new(words), bench.now);
    ask(&[b"hset", b"hash", b"pickled", b"\x80\x04\x8c\x05tasks\x8c\x02ok\x93K\x05\x85R."]);
    ask(&[b"set", b"bytes", b"\xff<img/src=x>\x00"]);
    let _ = bench.engine.outbox(bench.client).expect("it is connected").take();
    let due = format!("{}", 1_790_000_060_000_i64 * 4096 + 7);
    bench.ask(&["zadd", "bull:mail:delayed", &due, "job"]);
    bench.ask(&["zadd", "rq:scheduled:mail", "1790000060", "job"]);
    bench.ask(&["zadd", "bull:mail:prioritized", &(417_u64 << 32).to_string(), "job"]);
    let html = bench.html("key/0/hash", ALL).expect("it is shown");
    assert!(html.contains("pickle</span> tasks.ok(5)"), "{html}");
    let html = bench.html("key/0/bytes", ALL).expect("it is shown");
    assert!(html.contains("000000  ff 3c 69") && html.contains(".&lt;img/src=x&gt;."), "{html}");
    for (key, is_moment) in
        [("bull:mail:delayed", true), ("rq:scheduled:mail", true), ("bull:mail:prioritized", false)]
    {
        let html = bench.html(&format!("key/0/{key}"), ALL).expect("it is shown");
        assert_eq!(html.contains("data-ms=\"1790000060000\""), is_moment, "{key}: {html}");
        assert_eq!(html.contains("data-form=\"clock\""), is_moment, "{key}: {html}");
    }
}
