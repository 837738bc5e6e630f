//! The process that holds a pod's namespaces open: it reaps what is re-parented to it and leaves when told to.
//!
//! It is process 1 of its PID namespace when the pod shares one. The kernel drops signals without a handler for
//! such a process, but never blocked ones, so the three signals that matter are blocked and then taken one by one:
//! no handler, no race, no wake-up without a cause.
#![no_std]
#![no_main]

use core::arch::{asm, global_asm};

// The kernel enters here with the arguments on the stack, which are of no interest; the ABI wants it aligned.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "and rsp, -16", "call {main}", main = sym main);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, #0", "mov x30, #0", "b {main}", main = sym main);
#[cfg(target_arch = "arm")]
global_asm!(".globl _start", "_start:", "mov fp, #0", "bic sp, sp, #7", "b {main}", main = sym main);
#[cfg(target_arch = "riscv64")]
global_asm!(".globl _start", "_start:", "mv s0, zero", "andi sp, sp, -16", "tail {main}", main = sym main);

/// Numbers of the system calls used, which differ between architectures.
mod call {
    #[cfg(target_arch = "x86_64")]
    pub const NUMBERS: [usize; 4] = [14, 128, 61, 231];
    #[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
    pub const NUMBERS: [usize; 4] = [135, 137, 260, 94];
    #[cfg(target_arch = "arm")]
    pub const NUMBERS: [usize; 4] = [175, 177, 114, 248];

    pub const RT_SIGPROCMASK: usize = NUMBERS[0];
    pub const RT_SIGTIMEDWAIT: usize = NUMBERS[1];
    pub const WAIT4: usize = NUMBERS[2];
    pub const EXIT_GROUP: usize = NUMBERS[3];
}

const SIGINT: isize = 2;
const SIGTERM: isize = 15;
const SIGCHLD: isize = 17;
const SIG_BLOCK: usize = 0;
const WNOHANG: usize = 1;

/// One system call of up to four arguments; the result is negative when it failed.
fn syscall(number: usize, args: [usize; 4]) -> isize {
    let result: isize;
    // SAFETY: the callers below pass only null pointers or a pointer to a live, large enough local.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") args[0], in("rsi") args[1],
            in("rdx") args[2], in("r10") args[3], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") args[0] as isize => result, in("x1") args[1],
            in("x2") args[2], in("x3") args[3], options(nostack));
    }
    // SAFETY: as above. r7 carries the number but may be the frame pointer, so it is kept by hand.
    #[cfg(target_arch = "arm")]
    unsafe {
        asm!("mov {kept}, r7", "mov r7, {number}", "svc 0", "mov r7, {kept}", kept = out(reg) _,
            number = in(reg) number, inlateout("r0") args[0] as isize => result, in("r1") args[1],
            in("r2") args[2], in("r3") args[3], options(nostack));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "riscv64")]
    unsafe {
        asm!("ecall", in("a7") number, inlateout("a0") args[0] as isize => result, in("a1") args[1],
            in("a2") args[2], in("a3") args[3], options(nostack));
    }
    result
}

extern "C" fn main() -> ! {
    let signals: u64 = [SIGINT, SIGTERM, SIGCHLD].iter().fold(0, |set, signal| set | 1 << (signal - 1));
    let set = &raw const signals as usize;
    let size = size_of::<u64>();
    syscall(call::RT_SIGPROCMASK, [SIG_BLOCK, set, 0, size]);
    loop {
        match syscall(call::RT_SIGTIMEDWAIT, [set, 0, 0, size]) {
            // Signals of one kind merge while pending: take every child that has ended.
            SIGCHLD => while syscall(call::WAIT4, [usize::MAX, 0, WNOHANG, 0]) > 0 {},
            SIGINT | SIGTERM => {
                syscall(call::EXIT_GROUP, [0; 4]);
            }
            _interrupted => {}
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        syscall(call::EXIT_GROUP, [1, 0, 0, 0]);
    }
}
