#!/usr/bin/env bash
# The recipe on several nodes of 8 GPUs under Slurm, from the repository's root:
#
#   sbatch --nodes 4 examples/distilbert/slurm.sh [arguments of scripts/train.py]
#
#SBATCH --job-name=distilbert
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=48
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
#SBATCH --open-mode=append
set -euo pipefail

read -r first_node < <(scontrol show hostnames "$SLURM_JOB_NODELIST")

# What torchrun leaves its processes after SIGTERM, less than the signal above leaves it.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=100

# One torchrun a node, which starts a process for each GPU.
srun torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "${PROCESSES_PER_NODE:-8}" --rdzv-id "$SLURM_JOB_ID" \
    --rdzv-backend c10d --rdzv-endpoint "$first_node:${RENDEZVOUS_PORT:-29500}" scripts/train.py "$@"
