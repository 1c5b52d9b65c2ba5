"""The whole objective on models of transformers, by the published formulas, against the criterion on ours."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from omegaconf import OmegaConf
from torch import Tensor, nn

from fairseq_distil.criterions import DistillationConfig, DistillationCriterion
from fairseq_distil.models import TeacherStudentModel
from fairseq_distil.tasks import DistilMaskedLMConfig, DistilMaskedLMTask

assert_close = partial(torch.testing.assert_close, atol=1e-5, rtol=1e-5)
SOFT_TARGET_WEIGHT, MLM_WEIGHT, COSINE_WEIGHT, TEMPERATURE = 5.0, 2.0, 1.0, 2.0
MASKED = ([0, 0, 1, 2], [2, 10, 7, 0])


def published_objective(
    student: nn.Module, teacher: nn.Module, tokens: Tensor, targets: Tensor, is_token: Tensor, soft_at: Tensor
) -> Tensor:
    """Means over tokens of each term, weighted (Sanh et al., 2019, and their released scripts)."""
    with torch.no_grad():
        teacher_output = teacher(tokens, attention_mask=is_token.long(), output_hidden_states=True)
    student_output = student(tokens, attention_mask=is_token.long(), output_hidden_states=True)
    soft_target_loss = TEMPERATURE**2 * nn.KLDivLoss(reduction="batchmean")(
        F.log_softmax(student_output.logits[soft_at] / TEMPERATURE, dim=-1),
        F.softmax(teacher_output.logits[soft_at] / TEMPERATURE, dim=-1),
    )
    mlm_loss = nn.CrossEntropyLoss(ignore_index=-100)(student_output.logits.flatten(0, 1), targets.flatten())
    student_hidden = student_output.hidden_states[-1][is_token]
    teacher_hidden = teacher_output.hidden_states[-1][is_token]
    cosine_loss = nn.CosineEmbeddingLoss()(student_hidden, teacher_hidden, torch.ones(len(student_hidden)))
    return SOFT_TARGET_WEIGHT * soft_target_loss + MLM_WEIGHT * mlm_loss + COSINE_WEIGHT * cosine_loss


def criterion_for(mask_prob: float, soft_target_positions: str) -> DistillationCriterion:
    dictionary = Dictionary()
    for index in range(42):
        dictionary.add_symbol(f"word{index}")
    task_cfg = OmegaConf.structured(DistilMaskedLMConfig(data="", mask_prob=mask_prob, seed=1, amp=False))
    cfg = DistillationConfig(
        soft_target_weight=SOFT_TARGET_WEIGHT,
        mlm_weight=MLM_WEIGHT,
        cosine_weight=COSINE_WEIGHT,
        soft_target_temperature=TEMPERATURE,
        soft_target_positions=soft_target_positions,
    )
    return DistillationCriterion(cfg, DistilMaskedLMTask(task_cfg, dictionary))


@pytest.mark.parametrize("soft_target_positions", ["all", "masked"])
def test_loss_and_gradients(bert_pair, distilbert_pair, tokens: Tensor, soft_target_positions: str) -> None:
    is_token = tokens.ne(1)
    is_masked = torch.zeros_like(is_token)
    is_masked[MASKED] = True
    originals = tokens.flip(1).clamp(min=5)
    expected = published_objective(
        distilbert_pair.theirs,
        bert_pair.theirs,
        tokens,
        originals.masked_fill(~is_masked, -100),
        is_token,
        soft_at=is_token if soft_target_positions == "all" else is_masked,
    )
    expected.backward()

    model = TeacherStudentModel(distilbert_pair.ours.config, teachers=[bert_pair.ours])
    model.load_state_dict(distilbert_pair.ours.state_dict())
    sample = {
        "net_input": {"src_tokens": tokens, "has_padding": True},
        "target": originals.masked_fill(~is_masked, 1),
        "ntokens": int(is_token.sum()),
        "nsentences": len(tokens),
    }
    # Masking selects mask_prob of the tokens on average; with exactly that many, the mean over tokens of the
    # cross-entropy divided by mask_prob is the published mean over masked tokens.
    criterion = criterion_for(int(is_masked.sum()) / int(is_token.sum()), soft_target_positions)
    criterion.fit_to(model)
    loss, sample_size, _ = criterion(model.eval(), sample)
    (loss / sample_size).backward()

    assert sample_size == is_token.sum()
    assert_close(loss / sample_size, expected)
    expected_gradients = distilbert_pair.renamed(
        {name: parameter.grad for name, parameter in distilbert_pair.theirs.named_parameters()}
    )
    for name, parameter in model.named_parameters():
        assert_close(parameter.grad, expected_gradients[name], msg=lambda message, name=name: f"{name}: {message}")
    assert all(parameter.grad is None for parameter in model.teacher.parameters())
