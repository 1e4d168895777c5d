from __future__ import annotations

from django.urls import path

from annotate.views import (
    audit_log,
    batch_pages,
    data_page,
    exports,
    home,
    imports,
    project_home,
    projects,
)
from annotate.views.integrations import api_tokens, webhook_pages
from annotate.views.joining import accounts, invitation_pages, password_reset, people
from annotate.views.labelling import key_list, label, me, my_votes, qualification, remarks
from annotate.views.reviewing import (
    adjudicate,
    annotators,
    gold,
    leaderboard,
    pair,
    prompt_page,
    quality,
)

PROJECT = "projects/<slug:slug>/"

urlpatterns = [
    path("", home.home, name="home"),
    path("accounts/login/", accounts.sign_in, name="login"),
    path("accounts/logout/", accounts.sign_out, name="logout"),
    path("accounts/password/", accounts.password, name="password"),
    path("accounts/forgotten/", password_reset.forgotten, name="password-forgotten"),
    path(
        "accounts/forgotten/<str:uidb64>/<str:token>/",
        password_reset.ChoosePassword.as_view(),
        name="password-choose",
    ),
    path(
        "accounts/forgotten/<str:uidb64>/<int:maker_id>/<str:token>/",
        password_reset.ChooseByMadeLink.as_view(),
        name="password-choose-made",
    ),
    path("accounts/tokens/", api_tokens.tokens, name="tokens"),
    path("accounts/tokens/<int:token_id>/revoke/", api_tokens.revoke, name="token-revoke"),
    path("accounts/enter/<str:token>/", accounts.enter, name="enter"),
    path("invitations/<str:token>/", invitation_pages.invitation, name="invitation"),
    path(
        "invitations/<str:token>/<str:confirmation>/",
        invitation_pages.confirmed,
        name="invitation-confirmed",
    ),
    path("projects/", projects.projects, name="projects"),
    path("projects/new/", projects.new, name="project-new"),
    path(PROJECT, project_home.project_home, name="project-home"),
    path(PROJECT + "label/", label.label, name="label"),
    path(PROJECT + "label/keys/", key_list.key_list, name="key-list"),
    path(PROJECT + "label/undo/", label.undo, name="undo"),
    path(PROJECT + "label/<uuid:token>/vote/", label.vote, name="vote"),
    path(PROJECT + "label/<uuid:token>/skip/", label.skip, name="skip"),
    path(PROJECT + "votes/", my_votes.my_votes, name="my-votes"),
    path(PROJECT + "votes/<uuid:token>/", my_votes.my_vote, name="my-vote"),
    path(PROJECT + "votes/<uuid:token>/rewrite/", my_votes.my_rewrite, name="my-rewrite"),
    path(PROJECT + "label/<uuid:token>/remark/", remarks.remark, name="remark"),
    path(PROJECT + "label/<uuid:token>/skip-reason/", remarks.skip_reason, name="skip-reason"),
    path(PROJECT + "label/<uuid:token>/flag/", remarks.flag, name="flag"),
    path(PROJECT + "label/<uuid:token>/renew/", label.renew, name="renew"),
    path(PROJECT + "guidelines/", projects.guidelines, name="guidelines"),
    path(PROJECT + "guidelines/read/", projects.guidelines_read, name="guidelines-read"),
    path(PROJECT + "qualification/", qualification.qualification, name="qualification"),
    path(
        PROJECT + "qualification/<int:gold_id>/",
        qualification.question,
        name="qualification-question",
    ),
    path(PROJECT + "checks/", gold.checks, name="checks"),
    path(PROJECT + "checks/<int:gold_id>/", gold.switch, name="check"),
    path(PROJECT + "quality/", quality.quality, name="quality"),
    path(PROJECT + "quality/pairs/", quality.pairs, name="quality-pairs"),
    path(PROJECT + "leaderboard/", leaderboard.leaderboard, name="leaderboard"),
    path(PROJECT + "annotators/", annotators.annotators, name="annotators"),
    path(PROJECT + "annotators/export.csv", annotators.payment, name="payment"),
    path(PROJECT + "annotators/<int:member_id>/", annotators.annotator, name="annotator"),
    path(
        PROJECT + "annotators/<int:member_id>/change/", annotators.change, name="annotator-change"
    ),
    path(PROJECT + "me/", me.me, name="me"),
    path(PROJECT + "me/messages/<int:message_id>/", me.read, name="message-read"),
    path(PROJECT + "adjudicate/", adjudicate.adjudicate, name="adjudicate"),
    path(PROJECT + "adjudicate/<int:pair_id>/", adjudicate.decide, name="decide"),
    path(PROJECT + "adjudicate/<int:pair_id>/undo/", adjudicate.take_back, name="decide-undo"),
    path(PROJECT + "adjudicate/<int:pair_id>/flags/", adjudicate.settle, name="flags-settle"),
    path(PROJECT + "pairs/<int:pair_id>/", pair.pair, name="pair"),
    path(PROJECT + "prompts/<int:prompt_id>/", prompt_page.prompt, name="prompt"),
    path(PROJECT + "data/", data_page.data, name="data"),
    path(PROJECT + "import/", imports.imports, name="imports"),
    path(PROJECT + "import/<uuid:uuid>/", imports.one, name="import"),
    path(PROJECT + "import/<uuid:uuid>/progress/", imports.progress, name="import-progress"),
    path(PROJECT + "import/<uuid:uuid>/columns/", imports.columns, name="import-columns"),
    path(PROJECT + "import/<uuid:uuid>/start/", imports.start, name="import-start"),
    path(PROJECT + "import/<uuid:uuid>/cancel/", imports.cancel, name="import-cancel"),
    path(PROJECT + "import/<uuid:uuid>/undo/", imports.undo, name="import-undo"),
    path(PROJECT + "import/<uuid:uuid>/report/", imports.report, name="import-report"),
    path(PROJECT + "export/", exports.export, name="export"),
    path(PROJECT + "export/new/", exports.start, name="export-start"),
    path(PROJECT + "export/progress/", exports.progress, name="export-progress"),
    path(PROJECT + "export/<uuid:uuid>/", exports.download, name="export-download"),
    path(PROJECT + "export/<uuid:uuid>/cancel/", exports.cancel, name="export-cancel"),
    path(PROJECT + "versions/<int:number>/", exports.version, name="version"),
    path(PROJECT + "settings/", projects.settings, name="project-settings"),
    path(PROJECT + "settings/archive/", projects.archive, name="project-archive"),
    path(PROJECT + "webhooks/", webhook_pages.webhooks, name="webhooks"),
    path(PROJECT + "webhooks/<int:hook_id>/", webhook_pages.webhook, name="webhook"),
    path(PROJECT + "webhooks/<int:hook_id>/test/", webhook_pages.send_test, name="webhook-test"),
    path(PROJECT + "webhooks/<int:hook_id>/secret/", webhook_pages.rotate, name="webhook-rotate"),
    path(PROJECT + "webhooks/<int:hook_id>/delete/", webhook_pages.delete, name="webhook-delete"),
    path(
        PROJECT + "webhooks/<int:hook_id>/deliveries/<int:delivery_id>/",
        webhook_pages.send_again,
        name="webhook-again",
    ),
    path(PROJECT + "audit/", audit_log.audit, name="audit"),
    path(PROJECT + "audit/entries.jsonl", audit_log.download, name="audit-download"),
    path(PROJECT + "people/", people.people, name="people"),
    path(PROJECT + "people/invite/", invitation_pages.invite, name="invite"),
    path(
        PROJECT + "people/invite-several/", invitation_pages.invite_several, name="invite-several"
    ),
    path(
        PROJECT + "people/invitations/<int:invitation_id>/",
        invitation_pages.revoke,
        name="revoke",
    ),
    path(PROJECT + "people/announce/", people.announce, name="announce"),
    path(PROJECT + "batches/", batch_pages.batches, name="batches"),
    path(PROJECT + "batches/<int:batch_id>/", batch_pages.batch, name="batch"),
    path(PROJECT + "batches/<int:batch_id>/delete/", batch_pages.delete, name="batch-delete"),
    path(PROJECT + "people/<int:member_id>/", people.member, name="member"),
    path(
        PROJECT + "people/tokens/<int:token_id>/end/", api_tokens.end_in_project, name="token-end"
    ),
]
