INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time, workspace) VALUES (1, 'tiny', 'file://@STUDY@/home/mlartifacts/tiny', 'active', 1795571409749, 1795571409749, 'default');
INSERT INTO experiment_tags (key, value, experiment_id) VALUES ('mlflow.experimentKind', 'custom_model_development', 1);
INSERT INTO experiment_tags (key, value, experiment_id) VALUES ('mlflow.note.content', 'A Mixlaw study: one run per study run, named by its answer; + shows its proxies, by target share.', 1);
INSERT INTO experiment_tags (key, value, experiment_id) VALUES ('mixlaw.newest', 'b8439e47bb5746ab9d14a8157b2f6c2d', 1);
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id, deleted_time) VALUES ('b8439e47bb5746ab9d14a8157b2f6c2d', 'mix: target 0.536', 'UNKNOWN', '', '', 'unknown', 'FINISHED', 1795571433470, 1795571559547, '', 'active', 'file://@STUDY@/home/mlartifacts/tiny/b8439e47bb5746ab9d14a8157b2f6c2d/artifacts', 1, NULL);
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id, deleted_time) VALUES ('1d53e01ef23f4629a8a885bae9d50490', 'base', 'UNKNOWN', '', '', 'unknown', 'FINISHED', 1795571433470, 1795571438775, '', 'active', 'file://@STUDY@/home/mlartifacts/tiny/1d53e01ef23f4629a8a885bae9d50490/artifacts', 1, NULL);
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id, deleted_time) VALUES ('647574cdcb9a4c70b625f38a11292491', 'target 0.25', 'UNKNOWN', '', '', 'unknown', 'FINISHED', 1795571459527, 1795571461470, '', 'active', 'file://@STUDY@/home/mlartifacts/tiny/647574cdcb9a4c70b625f38a11292491/artifacts', 1, NULL);
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id, deleted_time) VALUES ('953c1186ce8d4f48b4c143cb40de1082', 'target 0.5', 'UNKNOWN', '', '', 'unknown', 'FINISHED', 1795571460108, 1795571461954, '', 'active', 'file://@STUDY@/home/mlartifacts/tiny/953c1186ce8d4f48b4c143cb40de1082/artifacts', 1, NULL);
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id, deleted_time) VALUES ('02ac364eb86c4674a8929bdc877fe989', 'target 0.75', 'UNKNOWN', '', '', 'unknown', 'FINISHED', 1795571493083, 1795571495742, '', 'active', 'file://@STUDY@/home/mlartifacts/tiny/02ac364eb86c4674a8929bdc877fe989/artifacts', 1, NULL);
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id, deleted_time) VALUES ('caa787775b424129926e8e190d18af8e', 'target 0.9', 'UNKNOWN', '', '', 'unknown', 'FINISHED', 1795571493492, 1795571495539, '', 'active', 'file://@STUDY@/home/mlartifacts/tiny/caa787775b424129926e8e190d18af8e/artifacts', 1, NULL);
INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id, deleted_time) VALUES ('5b10a4da83a541609735971c612b8b49', 'target 0.536 (confirmation)', 'UNKNOWN', '', '', 'unknown', 'FINISHED', 1795571540613, 1795571541422, '', 'active', 'file://@STUDY@/home/mlartifacts/tiny/5b10a4da83a541609735971c612b8b49/artifacts', 1, NULL);
INSERT INTO params (key, value, run_uuid) VALUES ('share.docs', '1.0', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO params (key, value, run_uuid) VALUES ('share.code', '0.0', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO params (key, value, run_uuid) VALUES ('kind', 'base', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO params (key, value, run_uuid) VALUES ('depth', '1', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO params (key, value, run_uuid) VALUES ('context', '32', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO params (key, value, run_uuid) VALUES ('tokens', '64000', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO params (key, value, run_uuid) VALUES ('batch_tokens', '512', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO params (key, value, run_uuid) VALUES ('learning_rate', '0.01', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO params (key, value, run_uuid) VALUES ('seed', '0', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO params (key, value, run_uuid) VALUES ('study_seed', '0', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO params (key, value, run_uuid) VALUES ('params', '13408', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO params (key, value, run_uuid) VALUES ('share.docs', '0.75', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO params (key, value, run_uuid) VALUES ('share.code', '0.25', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO params (key, value, run_uuid) VALUES ('kind', 'proxy', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO params (key, value, run_uuid) VALUES ('depth', '1', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO params (key, value, run_uuid) VALUES ('context', '32', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO params (key, value, run_uuid) VALUES ('tokens', '15872', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO params (key, value, run_uuid) VALUES ('batch_tokens', '512', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO params (key, value, run_uuid) VALUES ('learning_rate', '0.003', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO params (key, value, run_uuid) VALUES ('seed', '0', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO params (key, value, run_uuid) VALUES ('study_seed', '0', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO params (key, value, run_uuid) VALUES ('params', '13408', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO params (key, value, run_uuid) VALUES ('share.docs', '0.5', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO params (key, value, run_uuid) VALUES ('share.code', '0.5', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO params (key, value, run_uuid) VALUES ('kind', 'proxy', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO params (key, value, run_uuid) VALUES ('depth', '1', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO params (key, value, run_uuid) VALUES ('context', '32', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO params (key, value, run_uuid) VALUES ('tokens', '15872', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO params (key, value, run_uuid) VALUES ('batch_tokens', '512', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO params (key, value, run_uuid) VALUES ('learning_rate', '0.003', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO params (key, value, run_uuid) VALUES ('seed', '0', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO params (key, value, run_uuid) VALUES ('study_seed', '0', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO params (key, value, run_uuid) VALUES ('params', '13408', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO params (key, value, run_uuid) VALUES ('share.docs', '0.25', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO params (key, value, run_uuid) VALUES ('share.code', '0.75', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO params (key, value, run_uuid) VALUES ('kind', 'proxy', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO params (key, value, run_uuid) VALUES ('depth', '1', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO params (key, value, run_uuid) VALUES ('context', '32', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO params (key, value, run_uuid) VALUES ('tokens', '15872', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO params (key, value, run_uuid) VALUES ('batch_tokens', '512', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO params (key, value, run_uuid) VALUES ('learning_rate', '0.003', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO params (key, value, run_uuid) VALUES ('seed', '0', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO params (key, value, run_uuid) VALUES ('study_seed', '0', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO params (key, value, run_uuid) VALUES ('params', '13408', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO params (key, value, run_uuid) VALUES ('share.docs', '0.1', 'caa787775b424129926e8e190d18af8e');
INSERT INTO params (key, value, run_uuid) VALUES ('share.code', '0.9', 'caa787775b424129926e8e190d18af8e');
INSERT INTO params (key, value, run_uuid) VALUES ('kind', 'proxy', 'caa787775b424129926e8e190d18af8e');
INSERT INTO params (key, value, run_uuid) VALUES ('depth', '1', 'caa787775b424129926e8e190d18af8e');
INSERT INTO params (key, value, run_uuid) VALUES ('context', '32', 'caa787775b424129926e8e190d18af8e');
INSERT INTO params (key, value, run_uuid) VALUES ('tokens', '15872', 'caa787775b424129926e8e190d18af8e');
INSERT INTO params (key, value, run_uuid) VALUES ('batch_tokens', '512', 'caa787775b424129926e8e190d18af8e');
INSERT INTO params (key, value, run_uuid) VALUES ('learning_rate', '0.003', 'caa787775b424129926e8e190d18af8e');
INSERT INTO params (key, value, run_uuid) VALUES ('seed', '0', 'caa787775b424129926e8e190d18af8e');
INSERT INTO params (key, value, run_uuid) VALUES ('study_seed', '0', 'caa787775b424129926e8e190d18af8e');
INSERT INTO params (key, value, run_uuid) VALUES ('params', '13408', 'caa787775b424129926e8e190d18af8e');
INSERT INTO params (key, value, run_uuid) VALUES ('share.docs', '0.464', '5b10a4da83a541609735971c612b8b49');
INSERT INTO params (key, value, run_uuid) VALUES ('share.code', '0.536', '5b10a4da83a541609735971c612b8b49');
INSERT INTO params (key, value, run_uuid) VALUES ('kind', 'proxy', '5b10a4da83a541609735971c612b8b49');
INSERT INTO params (key, value, run_uuid) VALUES ('depth', '1', '5b10a4da83a541609735971c612b8b49');
INSERT INTO params (key, value, run_uuid) VALUES ('context', '32', '5b10a4da83a541609735971c612b8b49');
INSERT INTO params (key, value, run_uuid) VALUES ('tokens', '15872', '5b10a4da83a541609735971c612b8b49');
INSERT INTO params (key, value, run_uuid) VALUES ('batch_tokens', '512', '5b10a4da83a541609735971c612b8b49');
INSERT INTO params (key, value, run_uuid) VALUES ('learning_rate', '0.003', '5b10a4da83a541609735971c612b8b49');
INSERT INTO params (key, value, run_uuid) VALUES ('seed', '0', '5b10a4da83a541609735971c612b8b49');
INSERT INTO params (key, value, run_uuid) VALUES ('study_seed', '0', '5b10a4da83a541609735971c612b8b49');
INSERT INTO params (key, value, run_uuid) VALUES ('params', '13408', '5b10a4da83a541609735971c612b8b49');
INSERT INTO params (key, value, run_uuid) VALUES ('tolerance', '0.3', 'b8439e47bb5746ab9d14a8157b2f6c2d');
INSERT INTO params (key, value, run_uuid) VALUES ('tokens', '15872', 'b8439e47bb5746ab9d14a8157b2f6c2d');
INSERT INTO params (key, value, run_uuid) VALUES ('level', '0.9', 'b8439e47bb5746ab9d14a8157b2f6c2d');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.study', '20494711012f6495', 'b8439e47bb5746ab9d14a8157b2f6c2d');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.kind', 'study', 'b8439e47bb5746ab9d14a8157b2f6c2d');
INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.runName', 'mix: target 0.536', 'b8439e47bb5746ab9d14a8157b2f6c2d');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.run', 'c28dae44f4875578', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.kind', 'base', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.parentRunId', 'b8439e47bb5746ab9d14a8157b2f6c2d', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.runName', 'base', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.digest', '0a83d09a745f4205', '1d53e01ef23f4629a8a885bae9d50490');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.run', '100bdcbede3cf6a4', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.kind', 'proxy', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.parentRunId', 'b8439e47bb5746ab9d14a8157b2f6c2d', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.runName', 'target 0.25', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.digest', '0a2b720a57837c9f', '647574cdcb9a4c70b625f38a11292491');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.run', '7fe718d1898f2e95', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.kind', 'proxy', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.parentRunId', 'b8439e47bb5746ab9d14a8157b2f6c2d', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.runName', 'target 0.5', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.digest', 'a770a209d652f4f6', '953c1186ce8d4f48b4c143cb40de1082');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.run', 'f365ba5c3d59eca4', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.kind', 'proxy', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.parentRunId', 'b8439e47bb5746ab9d14a8157b2f6c2d', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.runName', 'target 0.75', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.digest', 'c0ad4bd23cde2af4', '02ac364eb86c4674a8929bdc877fe989');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.run', '583e5463e6fac296', 'caa787775b424129926e8e190d18af8e');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.kind', 'proxy', 'caa787775b424129926e8e190d18af8e');
INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.parentRunId', 'b8439e47bb5746ab9d14a8157b2f6c2d', 'caa787775b424129926e8e190d18af8e');
INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.runName', 'target 0.9', 'caa787775b424129926e8e190d18af8e');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.digest', '754375f70249c3a2', 'caa787775b424129926e8e190d18af8e');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.run', '3b27018b63d01520', '5b10a4da83a541609735971c612b8b49');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.kind', 'confirmation', '5b10a4da83a541609735971c612b8b49');
INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.parentRunId', 'b8439e47bb5746ab9d14a8157b2f6c2d', '5b10a4da83a541609735971c612b8b49');
INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.runName', 'target 0.536 (confirmation)', '5b10a4da83a541609735971c612b8b49');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.digest', 'dc013a651acc726a', '5b10a4da83a541609735971c612b8b49');
INSERT INTO tags (key, value, run_uuid) VALUES ('status', 'decided', 'b8439e47bb5746ab9d14a8157b2f6c2d');
INSERT INTO tags (key, value, run_uuid) VALUES ('binding', 'tolerance', 'b8439e47bb5746ab9d14a8157b2f6c2d');
INSERT INTO tags (key, value, run_uuid) VALUES ('law', 'cmr', 'b8439e47bb5746ab9d14a8157b2f6c2d');
INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.note.content', '**Critical ratio (share of target tokens): 0.536, 90% interval [0.474, 0.602]**

Recommended mix: code 0.536, docs 0.464.  
What binds: the general loss reaches its tolerance.  
Tolerance 0.3 nats at 15,872 tokens; 4 runs; law `cmr`.

- within the tolerance: up to 0.536 [0.474, 0.602]
- past the turning point: up to 1.000 [0.914, 1.000] (every share passes)

Train these next:

- code 0.474, docs 0.526
- code 0.602, docs 0.398

| confirmation | predicted | observed |
|---|---|---|
| general | +0.3000 [0.1823, 0.4107] | +0.3042 |
| target | -1.6530 [-1.7021, -1.6008] | -1.6501 |

| run | target share | tokens | general | target |
|---|---|---|---|---|
| proxy target=0.25 seed=0 | 0.25 | 15,872 | +0.0727 | -1.2620 |
| proxy target=0.5 seed=0 | 0.5 | 15,872 | +0.2601 | -1.6100 |
| proxy target=0.75 seed=0 | 0.75 | 15,872 | +0.5792 | -1.8014 |
| proxy target=0.9 seed=0 | 0.9 | 15,872 | +0.9741 | -1.8631 |
| confirmation target=0.536 | 0.536 | 15,872 | +0.3042 | -1.6501 |

> the interval is wider than +-0.05: train more runs near the critical ratio
', 'b8439e47bb5746ab9d14a8157b2f6c2d');
INSERT INTO tags (key, value, run_uuid) VALUES ('mixlaw.digest', 'cb825331a3027f14', 'b8439e47bb5746ab9d14a8157b2f6c2d');
INSERT INTO registered_models (name, creation_time, last_updated_time, description, workspace) VALUES ('tiny', 1795571559739, 1795571562647, 'The mix that the study tiny recommends; `champion` is the one in use.', 'default');
INSERT INTO model_versions (name, version, creation_time, last_updated_time, description, user_id, current_stage, source, run_id, status, status_message, run_link, storage_location, workspace) VALUES ('tiny', 1, 1795571562647, 1795571562647, 'target share 0.536, 90% interval [0.474, 0.602]', NULL, 'None', 'file://@STUDY@/home/mlartifacts/tiny/b8439e47bb5746ab9d14a8157b2f6c2d/artifacts/mix/v1-c9d24d58', 'b8439e47bb5746ab9d14a8157b2f6c2d', 'READY', NULL, NULL, 'file://@STUDY@/home/mlartifacts/tiny/b8439e47bb5746ab9d14a8157b2f6c2d/artifacts/mix/v1-c9d24d58', 'default');
INSERT INTO model_version_tags (key, value, name, version, workspace) VALUES ('mixlaw.digest', 'c9d24d58a0c57ec3', 'tiny', 1, 'default');
INSERT INTO model_version_tags (key, value, name, version, workspace) VALUES ('mixlaw.question', '308e1d2bc41db590', 'tiny', 1, 'default');
INSERT INTO model_version_tags (key, value, name, version, workspace) VALUES ('mixlaw.corpora', '1', 'tiny', 1, 'default');
INSERT INTO model_version_tags (key, value, name, version, workspace) VALUES ('mixlaw.champion.2026-11-25T01:52:42.815234Z', '{"by": "first", "reason": "the first mix", "before": ""}', 'tiny', 1, 'default');
INSERT INTO registered_model_aliases (alias, version, name, workspace) VALUES ('champion', 1, 'tiny', 'default');
