//! A small EC2 region on loopback, for tests: it does what AWS does where a program that claims an
//! Elastic IP can tell the difference, and it breaks in every way that such a program must survive.
//!
//! A test starts a [`Cloud`], builds a world (instances, addresses, groups), gives the process under
//! test [`Cloud::env`], and afterwards asks who holds what ([`Cloud::holder`], [`Cloud::history`])
//! and what was sent ([`Cloud::log`]). Dropping the cloud ends it. All ports are ephemeral, so any
//! number of clouds run side by side; a cloud is one thread.
//!
//! # What is modelled
//! From the service models, the documentation, and the error texts that users of AWS have reported:
//! - **EC2** (query, 2016-11-15): `AssociateAddress` and `DisassociateAddress` with their rules,
//!   states and error texts; `DescribeAddresses`, `DescribeInstances`, `DescribeInstanceStatus`,
//!   `DescribeTags`, `DescribeNetworkInterfaces` with filters, wildcards and escapes; `DryRun`;
//!   reads that lag behind; new instances that are not to be seen yet; token buckets; the public
//!   address of EC2's choice, which goes when an Elastic IP comes and comes back, another one, when
//!   it leaves; connections that die when an instance's public address changes.
//! - **IMDSv2**, one listener for each instance, opened when its address is first asked for.
//! - **STS**: `DecodeAuthorizationMessage` of what EC2 encoded here, `GetCallerIdentity`.
//! - **Auto Scaling**: `DescribeAutoScalingInstances`, `DescribeAutoScalingGroups`,
//!   `CompleteLifecycleAction`, `SetInstanceHealth` with its grace period; groups that replace what
//!   they lose, at once.
//! - **IAM**: policies of roles ([`Cloud::put_role_policy`]), each call judged against every resource that it is about
//!   (the address, and the instance or interface that it goes to or comes from); `Allow` and `Deny`, wildcards, tags of
//!   resources, the calling instance, and the variable `${ec2:InstanceID}`. A document with anything else is refused.
//!   For a test that needs no policy, [`Cloud::deny`] names an action.
//! - **Signatures**: algorithm, scope, signed headers, session token, and a date within five minutes.
//!
//! # What is not, or is a guess
//! - A signature is not computed again.
//! - Nothing is paginated, no instance is launched or address allocated through the API.
//! - Guesses, since nobody documents them: the code for an address of another network border group
//!   (`InvalidParameterCombination`); that `DryRun` looks at form and permission but at no resource;
//!   that a repeated association keeps its association id, whatever `AllowReassociation` says;
//!   whether disassociating an association that is over is an error
//!   ([`Options::stale_association_not_found`] has both answers); that a stopping instance is
//!   accepted as a target; that an association needs permission on the instance or on the interface, whichever it
//!   names ([`Options::associate_needs_both_targets`] has the other answer), and on nothing of the holder before it;
//!   that what does not exist has no tags when permission is judged, nor an association that is over and forgotten.
//! - Launch times are to the millisecond, EC2's to the second: so later launches are strictly later
//!   in a test that takes no time. [`Cloud::set_launch_time`] makes them equal.
//! - A group leaves an instance that stopped, or whose zone failed, as it is, where AWS would
//!   terminate it in the end; one that is unhealthy or abandoned it shuts down, and the test terminates it.
#![forbid(unsafe_code)]

mod addresses;
mod autoscaling;
mod cloud;
mod describe;
mod ec2;
mod faults;
mod filters;
mod groups;
mod iam;
mod imds;
mod payload;
mod permissions;
mod policies;
mod query;
mod region;
mod server;
mod sts;
mod tls;
mod traffic;
mod types;
mod versioned;
mod world;
mod xml;

pub use cloud::{Cloud, FaultSet};
pub use tls::Tls;
pub use traffic::Traffic;
pub use types::*;
