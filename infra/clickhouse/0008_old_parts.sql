-- Parts that were merged stay for two minutes. A disk that fills up while a merge writes leaves a broken part in its
-- place, and the engine does not notice; started anew it finds that and takes the old parts, if they are still there.
-- chDB would delete them at once (a ClickHouse server keeps them for 8 minutes). Two minutes are twice what `up` needs
-- to stop the engine on a full disk.

ALTER TABLE samples MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE samples_recent MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE twin_snapshots MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE rollups MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE windows MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE rows MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE anomalies MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE late MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE alerts MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE twin_states MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE dead_letters MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE gaps MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE ledger MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE command_requests MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE commands MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE command_events MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE definitions MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE ingested MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE quarantine MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE frontier MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE named_windows MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE schema_migrations MODIFY SETTING old_parts_lifetime = 120;
ALTER TABLE schema_retention MODIFY SETTING old_parts_lifetime = 120;
