//! EC2 provider of drover: instances of an AWS account and region, over aws-sdk-ec2.
//!
//! A program of its own, `drover-provider-ec2`, which the agent starts: the SDK takes minutes and gigabytes to
//! compile, and the credentials stay out of the agent. It speaks `Provider/1` on a socket.
//!
//! It knows nothing of groups' sizes, health or rollouts, keeps nothing on disk, and never reads a secret itself:
//! credentials are the SDK's business.
//!
//! Entry points: [`Ec2Factory`] and [`AsgFactory`], and [`describe`] for the program's subcommand.
//!
//! **Invariant:** every `RunInstances` has the token of the caller as its `ClientToken`: EC2 decides whether it
//! made something before, not this program's memory.
//! **Invariant:** owner tags go on with the launch. What does not carry them is never touched.
//! **Invariant:** a listing that is not whole is an error. What is remembered between calls saves calls, and
//! is never the reason to believe that something is gone.
//!
//! | module | what it does |
//! | --- | --- |
//! | `schema`, `settings`, `properties` | what documents may say |
//! | `region`, `purse` | client and caches that documents of one profile and region share; limits, which those of one account do |
//! | `budget`, `cooling`, `error` | EC2's limits, offerings that cannot be had, what its errors mean |
//! | `listing`, `notices` | what is there, and what is about to happen to it |
//! | `launch`, `request`, `tags` | making instances |
//! | `ending`, `book` | ending them; what is known between listings |
//! | `strangers`, `adoption`, `scaling` | instances that others made, who else acts on them, taking them over |
//! | `asg` | the other type: an Auto Scaling group as one object |
//! | `describe` | the same for people and `drover import`, as JSON |
//! | `places` | interfaces and volumes of quorum groups' members |

mod adoption;
mod asg;
mod book;
mod budget;
mod clients;
mod cooling;
mod describe;
mod ending;
mod error;
mod factory;
mod launch;
mod listing;
mod notices;
mod places;
mod properties;
mod provider;
mod purse;
mod reached;
mod region;
mod request;
mod scaling;
mod schema;
mod settings;
mod strangers;
mod tags;
mod tokens;

pub use asg::{AsgFactory, SCALING_GROUPS};
pub use describe::{Described, Question, VERSION, describe};
pub use factory::Ec2Factory;
pub use region::Reach;
