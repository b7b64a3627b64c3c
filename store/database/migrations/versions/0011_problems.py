"""why images and labels can't be used; renamed classes"""

import sqlalchemy as sa
from alembic import op

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('project', sa.Column('renames', sa.JSON(none_as_null=True), nullable=True))
    for name in ('image_problem', 'image_note', 'label_faults'):
        op.add_column('task', sa.Column(name, sa.Text(), nullable=True))
    # The next job reads the annotations of these again, and notes what can't be learned.
    op.execute(
        'UPDATE task SET labelled = NULL WHERE item = 0 AND EXISTS (SELECT 1 FROM annotation '
        'WHERE annotation.project_id = task.project_id AND annotation.task_ls_id = task.ls_id)'
    )


def downgrade() -> None:
    # Not in a batch: SQLite would make the tables anew, and delete what refers to a project.
    for name in ('label_faults', 'image_note', 'image_problem'):
        op.drop_column('task', name)
    op.drop_column('project', 'renames')
