"""What you launch to train: `accelerate launch -m train.pretrain` and `accelerate launch -m train.finetune`."""
