#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod account;
mod account_ref;
mod account_table;
mod accounts;
mod balance;
mod balance_persister;
mod blocked;
mod bucket;
mod build_error;
mod builder;
mod calendar;
#[cfg(test)]
mod conformance;
mod controls;
mod counter;
mod current_rules;
mod demand;
#[cfg(feature = "metrics")]
mod describe;
mod dimension;
mod emergency;
mod estimate;
mod event;
mod flush_watchdog;
mod hold;
mod inner;
mod kind;
mod layer;
mod limit;
mod limit_status;
mod limiter;
#[cfg(feature = "metrics")]
mod metrics_sampler;
mod open_limiter;
mod per_thread;
mod plans;
mod queue;
mod quota;
mod quota_error;
#[cfg(feature = "redis")]
mod redis;
mod refusal;
mod reservation;
mod rules;
mod running;
mod runtime;
mod scope;
mod service;
mod store;
mod telemetry;
mod thread_counter;
mod time;
#[cfg(feature = "tokenizer")]
mod tokenizer;
mod unit;
mod unknown_price;
mod waiting;
mod webhook;
mod window;

pub use self::balance::Balance;
pub use self::balance_persister::{BalancePersister, BalancePersisterBuilder};
pub use self::build_error::BuildError;
pub use self::builder::LimiterBuilder;
pub use self::calendar::{Calendar, CalendarUnit};
pub use self::controls::Shed;
pub use self::demand::{Demand, Settlement};
#[cfg(feature = "metrics")]
pub use self::describe::describe_metrics;
pub use self::dimension::Dimension;
pub use self::emergency::Emergency;
pub use self::estimate::{EstimateInput, Estimator, Learned, UpperBound};
pub use self::event::{Event, Sink};
pub use self::layer::{OverrunPolicy, RateLimitLayer};
pub use self::limit::Limit;
pub use self::limit_status::{LimitStatus, LimitStatuses};
pub use self::limiter::{Limiter, Stats};
#[cfg(feature = "metrics")]
pub use self::metrics_sampler::MetricsSampler;
pub use self::open_limiter::{OpenError, OpenLimiter};
pub use self::plans::{Plan, PlanError, Plans};
pub use self::quota::Quota;
pub use self::quota_error::QuotaError;
#[cfg(feature = "redis")]
pub use self::redis::{OutagePolicy, RedisAccounts, RedisAccountsBuilder, RedisError, RedisStats};
pub use self::refusal::{Reason, Refusal};
pub use self::reservation::Reservation;
pub use self::runtime::NoRuntime;
pub use self::service::{RateLimit, ShadowRefusal};
pub use self::store::{Store, StoreError};
#[cfg(feature = "tokenizer")]
pub use self::tokenizer::OpenAiTokens;
pub use self::unit::{Unit, UnitName};
pub use self::unknown_price::UnknownPrice;
pub use self::waiting::Waiting;
pub use self::webhook::{Form, Webhook};
pub use llm_core;
#[cfg(feature = "redis")]
pub use llm_redis;
