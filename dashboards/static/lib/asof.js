/** The answer of /api/asof (reported values and open alarms of each twin) in the form of the live answers. */

/** One twin: its definition from the live answer, its values, state and alarms from the instant. */
export function twinAt(live, graph, atMs) {
  const then = graph.twins?.[live.id] ?? { reported: {}, alarms: [] };
  const known = new Map((live.alarms ?? []).map((a) => [a.id, a]));
  return {
    ...live, state: then.state ?? "ok", report: then.report ?? {}, desired: then.desired ?? {}, derived: then.derived ?? {}, delta: undefined,
    signals: (live.signals ?? []).map((s) => ({ ...s, value: null, ts_ns: null, quality: 0, ...then.reported?.[s.name] })),
    alarms: (then.alarms ?? []).map((a) => alarmAt(a, known.get(a.id), atMs)),
  };
}

/** An alarm as it was: what came later (returned, acknowledged) is not told. */
function alarmAt(then, now, atMs) {
  const seen = now?.acknowledged && now.acknowledged.at_ns / 1e6 <= atMs ? now.acknowledged : null;
  const aside = [now?.shelved, now?.was_shelved].find((s) => s && s.at_ns / 1e6 <= atMs && s.until_ns / 1e6 > atMs) ?? null;
  return { ...now, ...then, shelved: aside, ranked: now?.ranked ?? [], threshold: now?.threshold ?? then.limit, source: then.rule || then.detector, returned_ns: null, acknowledged: seen };
}

/** The list of twins: place and unit from the live list, state, cause and value from the instant. */
export function fleetAt(list, graph, atMs) {
  const now = new Map(list.map((t) => [t.id, t]));
  return Object.entries(graph.twins ?? {}).map(([id, then]) => {
    const live = now.get(id), worst = (then.alarms ?? []).find((a) => a.severity === then.state) ?? then.alarms?.[0];
    const signal = worst && then.reported[worst.signal] ? worst.signal : live?.value && then.reported[live.value.signal] ? live.value.signal : Object.keys(then.reported)[0];
    const newest = Math.max(0, ...Object.values(then.reported).map((r) => r.ts_ns));
    const about = live?.value?.signal === signal ? live.value : { unit: "" };
    return {
      id, type: then.type, site: live?.site ?? "", state: then.state, cause: worst?.cause ?? "", since_ns: worst?.raised_ns ?? null,
      value: signal ? { ...about, signal, value: then.reported[signal].value } : null, age_ms: newest ? atMs - newest / 1e6 : null, unacked: worst ? 1 : 0,
    };
  });
}
