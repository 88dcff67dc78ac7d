//! What `sse.typescript_client()` knows of tables that tell their changes: read from a real catalog.
//!
//! Not for what is made of it: crates/client/tests (`tables.ts`); nor for pages that use it:
//! clients/js/test/gateway.

mod common;

use anyhow::{Context, Result, ensure};
use common::calls::{builder, start};

/// The members of a declaration, or the lines of a constant.
fn declared<'c>(client: &'c str, begin: &str) -> Result<Vec<&'c str>> {
    let at = client.find(begin).with_context(|| format!("{begin} is not in {client}"))?;
    let (body, _) = client[at + begin.len()..].split_once("\n}").context("it does not end")?;
    Ok(body.lines().map(str::trim).filter(|line| !line.is_empty()).collect())
}

#[test]
fn a_stream_of_a_table_has_the_columns_that_its_triggers_show() -> Result<()> {
    let cluster = start(builder())?;
    cluster.sql(
        "create table stock (shop int, item text, amount int not null, hidden text, gone int, primary key (item, shop));
         alter table stock drop column gone;
         create trigger shows after insert or update or delete on stock for each row
             execute function sse.publish_change('authorize staff, clerks', 'amount');
         create table parts (id int primary key, \"Name\" text, amount numeric) partition by list (id);
         create table parts_1 partition of parts for values in (1);
         create trigger whole after insert or update or delete on parts for each row execute function sse.publish_change('all');
         create trigger part after update on parts for each row execute function sse.publish_change('all', 'amount');
         create table log (line text);
         create trigger tells after insert on log for each row execute function sse.publish_change();
         create table quiet (id int primary key);
         create trigger tells after insert on quiet for each row execute function sse.publish_change('all');
         alter table quiet disable trigger tells;
         create function all_json() returns jsonb language sql as $$ select '[]'::jsonb $$;
         do $$ declare name text; begin
             foreach name in array '{stock, parts, log, quiet}'::text[] loop
                 execute format('create function %1$s_live() returns void language sql as ''''', name);
                 execute format('comment on function %1$s_live() is ''@sse' || E'\\n' || '@sse_topic public.%1$s'
                     || E'\\n' || '@sse_snapshot all_json as rows''', name);
             end loop;
         end $$;",
    )?;
    let client = cluster.sql("select sse.typescript_client('public')")?;
    let stock = declared(&client, "export interface StockLiveRow {")?;
    ensure!(stock == ["shop: number;", "item: string;", "amount: number;"], "{stock:?}");
    let told = declared(&client, "export const stockLiveStream: ApiLive<StockLiveEvents, StockLiveRow> = {")?;
    ensure!(told.contains(&"key: [\"shop\", \"item\"],"), "{told:?}");
    ensure!(told.contains(&"names: \"sql\",") && told.contains(&"snapshot: \"rows\","), "{told:?}");
    // A key that the trigger does not list is in the key, and not in the rows that a change brings.
    let stock = declared(&client, "export interface StockLiveColumns {")?;
    ensure!(stock == ["shop?: number;", "item?: string;", "amount: number;"], "{stock:?}");
    let change = "RowChange<StockLiveColumns, Required<Pick<StockLiveColumns, \"shop\" | \"item\">>>;";
    ensure!(client.contains(change), "{client}");
    // A partition's copy of a trigger does not count; what not all show may be missing.
    let parts = declared(&client, "export interface PartsLiveRow {")?;
    ensure!(parts == ["id: number;", "Name?: string | null;", "amount: number | null;"], "{parts:?}");
    // Nothing tells its rows apart, and this one's trigger is off.
    declared(&client, "export const logLiveStream: ApiStream<LogLiveEvents> = {")?;
    declared(&client, "export const quietLiveStream: ApiStream<QuietLiveEvents> = {")?;
    ensure!(!client.contains("QuietLiveChange") && client.contains("LogLiveChange"), "{client}");
    Ok(())
}

// Attack: a tenant names another one's table as topic, and so tells everybody the columns of that table.
#[test]
fn a_stream_has_the_columns_of_a_table_only_if_its_owner_is_of_the_role_that_owns_the_table() -> Result<()> {
    let cluster = start(builder())?;
    cluster.sql(
        "create role shop; create role clerk in role shop; create role rival; create role boss superuser;
         create table orders (id int primary key, margin int);
         alter table orders owner to shop;
         create trigger tells after insert on orders for each row execute function sse.publish_change('authorize staff');
         create schema \"a.b\"; create schema a;
         create table \"a.b\".c (of_one int primary key); create table a.\"b.c\" (of_other int primary key);
         create trigger tells after insert on \"a.b\".c for each row execute function sse.publish_change('all');
         create trigger tells after insert on a.\"b.c\" for each row execute function sse.publish_change('all');
         alter table a.\"b.c\" owner to rival; alter table \"a.b\".c owner to shop;
         do $$ declare name text; begin
             foreach name in array '{shop, clerk, rival, boss}'::text[] loop
                 execute format('create function %1$s_live() returns void language sql as ''''', name);
                 execute format('comment on function %1$s_live() is ''@sse' || E'\\n' || '@sse_topic public.orders''', name);
                 execute format('alter function %1$s_live() owner to %1$s', name);
                 execute format('create function %1$s_dots() returns void language sql as ''''', name);
                 execute format('comment on function %1$s_dots() is ''@sse' || E'\\n' || '@sse_topic a.b.c''', name);
                 execute format('alter function %1$s_dots() owner to %1$s', name);
             end loop;
         end $$;",
    )?;
    let client = cluster.sql("select sse.typescript_client('public')")?;
    for name in ["ShopLive", "ClerkLive", "BossLive"] {
        let columns = declared(&client, &format!("export interface {name}Columns {{"))?;
        ensure!(columns == ["id: number;", "margin: number | null;"], "{name}: {columns:?}");
    }
    ensure!(
        !client.contains("RivalLiveColumns") && client.contains("createRivalLiveEventSource"),
        "{client}"
    );
    // Two tables have this name: each owner has their own, and nobody can tell which is meant who has both.
    for (name, column) in [("ShopDots", "of_one"), ("ClerkDots", "of_one"), ("RivalDots", "of_other")] {
        let columns = declared(&client, &format!("export interface {name}Columns {{"))?;
        ensure!(columns == [format!("{column}: number;")], "{name}: {columns:?}");
    }
    ensure!(!client.contains("BossDotsColumns"), "{client}");
    Ok(())
}

#[test]
fn tables_of_100_000_columns_are_read_and_more_are_too_large() -> Result<()> {
    let cluster = start(builder())?;
    // 62 tables of 1,600 columns and one of 799, which becomes larger.
    cluster.sql(
        "create function wide(number int, columns int) returns void language plpgsql as $$ begin
             execute (select format('create table t%s (%s)', number, string_agg('c' || c || ' int', ',')) from generate_series(1, columns) c);
             execute format('create trigger tells after insert on t%s for each row execute function sse.publish_change(''all'')', number);
             execute format('create function live%s() returns void language sql as ''''', number);
             execute format('comment on function live%1$s() is ''@sse' || E'\\n' || '@sse_topic public.t%1$s''', number);
         end $$;
         select wide(number, case number when 63 then 799 else 1600 end) from generate_series(1, 63) number;",
    )?;
    for (is_read, change) in
        [(true, "select"), (true, "alter table t63 add at int"), (false, "alter table t63 add above int")]
    {
        cluster.sql(change)?;
        let made = cluster.sql("select octet_length(sse.typescript_client('public')) > 0");
        ensure!(made.is_ok() == is_read, "{change}: {made:?}");
    }
    // A table that many name is read, and counted, once.
    cluster.sql(
        "do $$ begin for number in 2..63 loop
             execute format('comment on function live%s() is ''@sse' || E'\\n' || '@sse_topic public.t1''', number);
         end loop; end $$",
    )?;
    ensure!(cluster.sql("select sse.typescript_client('public')")?.contains("Live63Columns"));
    Ok(())
}
