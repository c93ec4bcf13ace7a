-- SQLite, all of it
CREATE INDEX ix_attempt_open ON attempt (job) WHERE status IN ('sent', 'unknown');
CREATE INDEX ix_cycle_began ON cycle (began);
CREATE INDEX ix_cycle_plan ON cycle (job, "plan") WHERE plan IS NOT NULL;
CREATE INDEX ix_directory_job_manager ON directory (job, manager);
CREATE INDEX ix_link_former ON link (job, kind) WHERE former_id IS NOT NULL;
CREATE UNIQUE INDEX ix_link_owner ON link (target, kind, target_id);
CREATE INDEX ix_log_access ON log (job, time) WHERE status = 'success' AND action IN ('create', 'enable', 'disable', 'delete');
CREATE INDEX ix_log_cycle_id_id ON log (cycle_id, id);
CREATE INDEX ix_log_job_anchor ON log (job, anchor);
CREATE INDEX ix_log_job_identity ON log (job, identity);
CREATE INDEX ix_log_job_time_id ON log (job, time, id);
CREATE INDEX ix_log_passed_over ON log (job, kind, anchor) WHERE error_code = 'EntrySynchronizationSkipped';
CREATE INDEX ix_sign_in_time ON sign_in (time);
CREATE TABLE attempt (
	change_id TEXT NOT NULL,
	job TEXT NOT NULL,
	cycle_id BIGINT NOT NULL,
	kind TEXT NOT NULL,
	action TEXT NOT NULL,
	anchor TEXT NOT NULL,
	target_id TEXT,
	label TEXT NOT NULL,
	known_by TEXT,
	sent_at DATETIME NOT NULL,
	status TEXT NOT NULL,
	ended_at DATETIME, intent TEXT,
	CONSTRAINT pk_attempt PRIMARY KEY (change_id)
);
CREATE TABLE cycle (
	id INTEGER NOT NULL,
	job TEXT NOT NULL,
	number BIGINT NOT NULL,
	kind TEXT NOT NULL,
	state TEXT NOT NULL,
	fingerprint TEXT NOT NULL,
	began DATETIME NOT NULL,
	ended DATETIME,
	counts JSON,
	source_count BIGINT,
	target_count BIGINT,
	watermark TEXT,
	message TEXT NOT NULL,
	flow_run_id TEXT,
	initiator TEXT NOT NULL,
	source TEXT NOT NULL,
	target TEXT NOT NULL, source_members BIGINT, "plan" TEXT, followed JSON,
	CONSTRAINT pk_cycle PRIMARY KEY (id),
	CONSTRAINT uq_cycle_job_number UNIQUE (job, number)
);
CREATE TABLE directory (
	job TEXT NOT NULL,
	kind TEXT NOT NULL,
	anchor TEXT NOT NULL,
	label TEXT NOT NULL,
	login TEXT NOT NULL,
	details JSON,
	manager TEXT NOT NULL,
	words TEXT NOT NULL,
	CONSTRAINT pk_directory PRIMARY KEY (job, kind, anchor)
);
CREATE TABLE escrow (
	job TEXT NOT NULL,
	kind TEXT NOT NULL,
	anchor TEXT NOT NULL,
	label TEXT NOT NULL,
	error_code TEXT,
	message TEXT NOT NULL,
	attempts BIGINT NOT NULL,
	first_failed DATETIME NOT NULL,
	next_attempt DATETIME NOT NULL,
	fingerprint BIGINT,
	CONSTRAINT pk_escrow PRIMARY KEY (job, kind, anchor)
);
CREATE TABLE job (
	name TEXT NOT NULL,
	fingerprint TEXT NOT NULL,
	created DATETIME NOT NULL, target TEXT, approval JSON,
	CONSTRAINT pk_job PRIMARY KEY (name)
);
CREATE TABLE lease (
	job TEXT NOT NULL,
	holder TEXT NOT NULL,
	expires_at DATETIME,
	fence BIGINT NOT NULL,
	CONSTRAINT pk_lease PRIMARY KEY (job)
);
CREATE TABLE link (
	job TEXT NOT NULL,
	kind TEXT NOT NULL,
	anchor TEXT NOT NULL,
	target_id TEXT NOT NULL,
	label TEXT NOT NULL,
	fingerprint BIGINT,
	state TEXT NOT NULL,
	how TEXT NOT NULL,
	linked_at DATETIME NOT NULL,
	changed_at DATETIME NOT NULL,
	state_since DATETIME NOT NULL,
	cycle_id BIGINT NOT NULL, written BLOB, former_id TEXT, target TEXT,
	CONSTRAINT pk_link PRIMARY KEY (job, kind, anchor),
	CONSTRAINT uq_link_job_kind_target_id UNIQUE (job, kind, target_id)
);
CREATE TABLE local_user (
	login TEXT NOT NULL,
	name TEXT NOT NULL,
	password TEXT NOT NULL,
	grants JSON,
	changed_at DATETIME NOT NULL,
	CONSTRAINT pk_local_user PRIMARY KEY (login)
);
CREATE TABLE log (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
	job TEXT NOT NULL,
	cycle_id BIGINT NOT NULL,
	time DATETIME NOT NULL,
	change_id TEXT,
	kind TEXT NOT NULL,
	action TEXT NOT NULL,
	status TEXT NOT NULL,
	anchor TEXT NOT NULL,
	target_id TEXT,
	label TEXT NOT NULL,
	identity TEXT NOT NULL,
	reason TEXT NOT NULL,
	error_code TEXT,
	message TEXT NOT NULL,
	modified JSON,
	duration_ms BIGINT
, counted BIGINT, had_since DATETIME);
CREATE TABLE notice (
	job TEXT NOT NULL,
	topic TEXT NOT NULL,
	said TEXT NOT NULL,
	sent_at DATETIME NOT NULL,
	CONSTRAINT pk_notice PRIMARY KEY (job, topic)
);
CREATE TABLE pace (
	target TEXT NOT NULL,
	worker TEXT NOT NULL,
	until DATETIME NOT NULL,
	CONSTRAINT pk_pace PRIMARY KEY (target, worker)
);
CREATE TABLE pause (
	job TEXT NOT NULL,
	since DATETIME NOT NULL,
	who TEXT NOT NULL,
	why TEXT NOT NULL,
	CONSTRAINT pk_pause PRIMARY KEY (job)
);
CREATE TABLE quarantine (
	job TEXT NOT NULL,
	reason TEXT NOT NULL,
	message TEXT NOT NULL,
	since DATETIME NOT NULL,
	began DATETIME NOT NULL,
	attempts BIGINT NOT NULL,
	next_attempt DATETIME,
	CONSTRAINT pk_quarantine PRIMARY KEY (job)
);
CREATE TABLE run_request (
	"key" TEXT NOT NULL,
	job TEXT NOT NULL,
	login TEXT NOT NULL,
	purpose TEXT NOT NULL,
	time DATETIME NOT NULL,
	CONSTRAINT pk_run_request PRIMARY KEY ("key")
);
CREATE TABLE session (
	ticket TEXT NOT NULL,
	login TEXT NOT NULL,
	name TEXT NOT NULL,
	how TEXT NOT NULL,
	groups JSON,
	secret TEXT NOT NULL,
	began DATETIME NOT NULL,
	seen DATETIME NOT NULL,
	CONSTRAINT pk_session PRIMARY KEY (ticket)
);
CREATE TABLE sign_in (
	id INTEGER NOT NULL,
	time DATETIME NOT NULL,
	login TEXT NOT NULL,
	how TEXT NOT NULL,
	address TEXT NOT NULL,
	outcome TEXT NOT NULL,
	CONSTRAINT pk_sign_in PRIMARY KEY (id)
);
CREATE TABLE sqlite_sequence(name,seq);
CREATE TABLE staged (
	job TEXT NOT NULL,
	kind TEXT NOT NULL,
	action TEXT NOT NULL,
	anchor TEXT NOT NULL,
	target_id TEXT,
	label TEXT NOT NULL,
	since DATETIME NOT NULL,
	cycle_id BIGINT NOT NULL,
	guard TEXT NOT NULL,
	guards JSON,
	cause TEXT,
	state TEXT NOT NULL,
	who TEXT,
	identity TEXT,
	why TEXT,
	until DATETIME,
	decided_at DATETIME,
	members JSON,
	attributes JSON,
	digests JSON,
	part TEXT NOT NULL,
	CONSTRAINT pk_staged PRIMARY KEY (job, kind, action, anchor, state, part)
);
CREATE TABLE unmanaged (
	job TEXT NOT NULL,
	kind TEXT NOT NULL,
	target_id TEXT NOT NULL,
	label TEXT NOT NULL,
	login TEXT NOT NULL,
	since DATETIME NOT NULL,
	made_for TEXT,
	CONSTRAINT pk_unmanaged PRIMARY KEY (job, kind, target_id)
);
CREATE TABLE watermark (
	job TEXT NOT NULL,
	value TEXT NOT NULL,
	moved_at DATETIME NOT NULL,
	cycle_id BIGINT,
	CONSTRAINT pk_watermark PRIMARY KEY (job)
);
CREATE TABLE word (
	word TEXT NOT NULL,
	job TEXT NOT NULL,
	kind TEXT NOT NULL,
	anchor TEXT NOT NULL,
	CONSTRAINT pk_word PRIMARY KEY (word, job, kind, anchor)
);
CREATE VIEW changelog AS SELECT l.id, l.time, l.job, c.number AS cycle, l.kind, l.action, l.status, l.label, l.anchor, l.target_id, l.reason, l.error_code, l.message, l.modified, l.duration_ms, l.change_id, c.initiator, c.source, c.target FROM log l LEFT JOIN cycle c ON c.id = l.cycle_id;
CREATE VIEW runs AS SELECT c.job, c.number AS cycle, c.kind, c.state, c.began, c.ended, ROUND((julianday(c.ended) - julianday(c.began)) * 86400, 3) AS duration_s, COALESCE(json_extract(c.counts, '$.created'), 0) AS created, COALESCE(json_extract(c.counts, '$.updated'), 0) AS updated, COALESCE(json_extract(c.counts, '$.enabled'), 0) AS enabled, COALESCE(json_extract(c.counts, '$.disabled'), 0) AS disabled, COALESCE(json_extract(c.counts, '$.deleted'), 0) AS deleted, COALESCE(json_extract(c.counts, '$.members_added'), 0) AS members_added, COALESCE(json_extract(c.counts, '$.members_removed'), 0) AS members_removed, COALESCE(json_extract(c.counts, '$.failed'), 0) AS failed, COALESCE(json_extract(c.counts, '$.held'), 0) AS held, COALESCE(json_extract(c.counts, '$.skipped'), 0) AS skipped, c.source_count, c.target_count, c.watermark, c.message, c.flow_run_id, c.initiator, c.source, c.target, c.id AS cycle_id FROM cycle c;
CREATE VIEW snapshot AS SELECT l.job, l.kind, l.anchor, l.label, l.target_id, l.state, l.state_since, l.how, l.linked_at, l.changed_at, c.number AS cycle FROM link l LEFT JOIN cycle c ON c.id = l.cycle_id;

-- PostgreSQL, this revision
ALTER TABLE provisor.staged ADD COLUMN part TEXT COLLATE "C" DEFAULT '' NOT NULL;

ALTER TABLE provisor.staged ALTER COLUMN part DROP DEFAULT;

ALTER TABLE provisor.staged DROP CONSTRAINT pk_staged;

ALTER TABLE provisor.staged ADD CONSTRAINT pk_staged PRIMARY KEY (job, kind, action, anchor, state, part);
