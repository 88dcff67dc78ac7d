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
    // A partition's copy of a trigger does not count; what not all show may be missing.
    let parts = declared(&client, "export interface PartsLiveRow {")?;
    ensure!(parts == ["id: number;", "Name?: string | null;", "amount: number | null;"], "{parts:?}");
    // Nothing tells its rows apart, and this one's trigger is off.
    declared(&client, "export const logLiveStream: ApiStream<LogLiveEvents> = {")?;
    declared(&client, "export const quietLiveStream: ApiStream<QuietLiveEvents> = {")?;
    ensure!(!client.contains("QuietLiveChange") && client.contains("LogLiveChange"), "{client}");
    Ok(())
}
