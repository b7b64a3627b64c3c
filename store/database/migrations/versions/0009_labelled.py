"""whether a task has a usable label"""

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('task', schema=None) as batch_op:
        batch_op.add_column(
            sa.Column('labelled', sa.Boolean(), server_default=sa.false(), nullable=True)
        )
    # The next job reads the annotations of these.
    op.execute(
        'UPDATE task SET labelled = NULL WHERE item = 0 AND EXISTS (SELECT 1 FROM annotation '
        'WHERE annotation.project_id = task.project_id AND annotation.task_ls_id = task.ls_id)'
    )


def downgrade() -> None:
    with op.batch_alter_table('task', schema=None) as batch_op:
        batch_op.drop_column('labelled')
