//! Process provider of drover: instances are child processes of this machine.
